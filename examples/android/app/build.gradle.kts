plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "org.facedet.example"
    compileSdk = 36
    defaultConfig {
        applicationId = "org.facedet.example"
        minSdk = 26
        targetSdk = 36
        versionCode = 1
        versionName = "1.0"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
    kotlinOptions { jvmTarget = "17" }
    androidResources { noCompress += "tflite" }
}

// The detectors come from exported_models/: what was measured is what runs.
val detector = "ssd_mobilenet_v2_quantized_224x224_widerface"
val copyDetectors by tasks.registering(Copy::class) {
    from("../../../exported_models/$detector") { include("*_int8_raw.tflite", "*_float16_raw.tflite", "*_int8_boxes.tflite") }
    rename { name -> name.removePrefix("${detector}_") }
    into("src/main/assets")
}
tasks.named("preBuild") { dependsOn(copyDetectors) }

// Their native libraries are aligned to pages of 16 KB, which Android 15 devices may have.
dependencies {
    val camerax = "1.5.0"
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.camera:camera-core:$camerax")
    implementation("androidx.camera:camera-camera2:$camerax")
    implementation("androidx.camera:camera-lifecycle:$camerax")
    implementation("com.google.ai.edge.litert:litert:2.3.0")
    implementation("com.google.ai.edge.litert:litert-gpu:2.3.0")
    implementation("com.google.mediapipe:tasks-vision:0.10.29")
}
