package org.facedet.example

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException

/** The raw float16 file on the GPU; where there is none, the raw int8 file on the CPU. One thread at a time. */
class FaceFinder(context: Context) : AutoCloseable {
    private val onGpu: Boolean
    private val file: ModelFile
    private val model: CompiledModel

    init {
        val gpu = try {
            CompiledModel.create(context.assets, GPU_FILE, CompiledModel.Options(Accelerator.GPU))
        } catch (error: LiteRtException) {
            null
        }
        onGpu = gpu != null
        model = gpu ?: CompiledModel.create(context.assets, CPU_FILE, CompiledModel.Options(Accelerator.CPU))
        val name = if (onGpu) GPU_FILE else CPU_FILE
        file = ModelFile(name, context.assets.open(name).use { it.readBytes() })
    }

    val accelerator: String get() = if (onGpu) "GPU, float16" else "CPU, int8"
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()
    private val pixels = IntArray(file.inputHeight * file.inputWidth)

    /** picture: ARGB_8888 of any size. */
    fun find(picture: Bitmap, leastScore: Float): List<Face> {
        val place = file.place(picture.height, picture.width)
        file.padding?.let { pixels.fill(it.fill) }
        Bitmap.createScaledBitmap(picture, place.width, place.height, true)
            .getPixels(pixels, place.top * file.inputWidth + place.left, file.inputWidth, 0, 0, place.width, place.height)
        if (file.isInt8) inputs[0].writeInt8(bytes()) else inputs[0].writeFloat(floats())
        model.run(inputs, outputs)
        return Faces.find(file, file.outputs.zip(outputs.map { it.readFloat() }).toMap(), leastScore, place)
    }

    private fun bytes() = ByteArray(3 * pixels.size) { (pixels[it / 3] shr SHIFTS[it % 3]).toByte() }

    private fun floats() = FloatArray(3 * pixels.size) { (pixels[it / 3] shr SHIFTS[it % 3] and 255).toFloat() }

    override fun close() = model.close()

    private companion object {
        const val GPU_FILE = "float16_raw.tflite"
        const val CPU_FILE = "int8_raw.tflite"
        val SHIFTS = intArrayOf(16, 8, 0) // of red, green and blue in ARGB
    }
}
