package org.facedet.example

import android.content.Context
import android.graphics.Bitmap
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.LiteRtException

/** The raw float16 file on the GPU; where there is none, the raw int8 file on the CPU. One thread at a time. */
class FaceFinder(context: Context, private val by: Suppression = Suppression(0.05f, 0.5f, 300)) : AutoCloseable {
    private val onGpu: Boolean
    private val model: CompiledModel

    init {
        val gpu = try {
            CompiledModel.create(context.assets, "float16_raw.tflite", CompiledModel.Options(Accelerator.GPU))
        } catch (error: LiteRtException) {
            null
        }
        onGpu = gpu != null
        model = gpu ?: CompiledModel.create(context.assets, "int8_raw.tflite", CompiledModel.Options(Accelerator.CPU))
    }

    val accelerator: String get() = if (onGpu) "GPU, float16" else "CPU, int8"
    private val inputs = model.createInputBuffers()
    private val outputs = model.createOutputBuffers()
    private val pixels = IntArray(SIDE * SIDE)

    /** picture: ARGB_8888 of any size. */
    fun find(picture: Bitmap, leastScore: Float): List<Face> {
        Bitmap.createScaledBitmap(picture, SIDE, SIDE, true).getPixels(pixels, 0, SIDE, 0, 0, SIDE, SIDE)
        if (onGpu) {
            val values = FloatArray(3 * pixels.size)
            for ((i, pixel) in pixels.withIndex()) {
                values[3 * i] = (pixel shr 16 and 255).toFloat()
                values[3 * i + 1] = (pixel shr 8 and 255).toFloat()
                values[3 * i + 2] = (pixel and 255).toFloat()
            }
            inputs[0].writeFloat(values)
        } else {
            val values = ByteArray(3 * pixels.size)
            for ((i, pixel) in pixels.withIndex()) {
                values[3 * i] = (pixel shr 16).toByte()
                values[3 * i + 1] = (pixel shr 8).toByte()
                values[3 * i + 2] = pixel.toByte()
            }
            inputs[0].writeInt8(values)
        }
        model.run(inputs, outputs)
        return Faces.fromRaw(outputs[0].readFloat(), outputs[1].readFloat(), leastScore, by)
    }

    override fun close() = model.close()

    private companion object {
        const val SIDE = 224
    }
}
