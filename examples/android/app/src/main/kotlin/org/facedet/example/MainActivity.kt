package org.facedet.example

import android.Manifest
import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.graphics.Paint
import android.graphics.RectF
import android.os.Bundle
import android.os.SystemClock
import android.view.View
import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContracts
import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageAnalysis
import androidx.camera.core.ImageProxy
import androidx.camera.lifecycle.ProcessCameraProvider
import java.util.concurrent.Executors

/** The front camera's newest frame with the faces in it. */
class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var view: FacesView
    private var finder: FaceFinder? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        view = FacesView(this)
        setContentView(view)
        registerForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
            if (granted) start() else view.say("No camera: it was not allowed. Allow it in the settings of this app.")
        }.launch(Manifest.permission.CAMERA)
    }

    private fun start() {
        val future = ProcessCameraProvider.getInstance(this)
        future.addListener({
            val analysis = ImageAnalysis.Builder()
                .setBackpressureStrategy(ImageAnalysis.STRATEGY_KEEP_ONLY_LATEST)
                .setOutputImageFormat(ImageAnalysis.OUTPUT_IMAGE_FORMAT_RGBA_8888)
                .build()
            analysis.setAnalyzer(worker, ::analyze)
            val provider = future.get()
            provider.unbindAll()
            provider.bindToLifecycle(this, CameraSelector.DEFAULT_FRONT_CAMERA, analysis)
        }, mainExecutor)
    }

    private fun analyze(image: ImageProxy) {
        val upright = image.use {
            val turn = Matrix().apply { postRotate(it.imageInfo.rotationDegrees.toFloat()) }
            val bitmap = it.toBitmap()
            Bitmap.createBitmap(bitmap, 0, 0, bitmap.width, bitmap.height, turn, true)
        }
        val used = finder ?: FaceFinder(this).also { finder = it } // on the thread that runs it
        val begin = SystemClock.elapsedRealtimeNanos()
        val faces = used.find(upright, leastScore = 0.5f)
        val took = (SystemClock.elapsedRealtimeNanos() - begin) / 1_000_000
        view.post { view.show(upright, faces, "${faces.size} faces, $took ms, ${used.accelerator}") }
    }

    override fun onDestroy() {
        super.onDestroy()
        worker.execute { finder?.close() }
        worker.shutdown()
    }
}

/** A picture fitted into the view as a mirror shows it, its faces' boxes and landmarks over it, a line of text. */
class FacesView(context: Context) : View(context) {
    private var picture: Bitmap? = null
    private var faces = emptyList<Face>()
    private var line = "Starting …"
    private val boxPaint = Paint().apply { color = Color.GREEN; style = Paint.Style.STROKE; strokeWidth = 6f }
    private val pointPaint = Paint().apply { color = 0xFFFFEA00.toInt() }
    private val textPaint = Paint().apply { color = Color.WHITE; textSize = 42f }

    fun show(picture: Bitmap, faces: List<Face>, line: String) {
        this.picture = picture
        this.faces = faces
        say(line)
    }

    fun say(line: String) {
        this.line = line
        contentDescription = line
        invalidate()
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        canvas.drawColor(Color.BLACK)
        picture?.let { drawMirrored(canvas, it) }
        canvas.drawText(line, 24f, height - 48f - insetBelow(), textPaint)
    }

    /** What is searched is not mirrored: left and right of the landmarks are the picture's. */
    private fun drawMirrored(canvas: Canvas, picture: Bitmap) {
        val scale = minOf(width / picture.width.toFloat(), height / picture.height.toFloat())
        val (w, h) = picture.width * scale to picture.height * scale
        val place = RectF((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
        canvas.save()
        canvas.scale(-1f, 1f, width / 2f, 0f)
        canvas.drawBitmap(picture, null, place, null)
        for (face in faces) {
            canvas.drawRect(
                place.left + face.left * w, place.top + face.top * h, place.left + face.right * w, place.top + face.bottom * h, boxPaint,
            )
            for (point in face.landmarks.orEmpty()) canvas.drawCircle(place.left + point.x * w, place.top + point.y * h, 6f, pointPaint)
        }
        canvas.restore()
    }

    /** The navigation bar's height: from Android 15 on an app reaches below it. */
    @Suppress("DEPRECATION") // what replaces it needs Android 11
    private fun insetBelow() = rootWindowInsets?.systemWindowInsetBottom ?: 0
}
