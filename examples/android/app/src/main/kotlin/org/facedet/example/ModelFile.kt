package org.facedet.example

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** How a picture keeps its aspect in the input: at the input's start or in its middle; fill: ARGB of the rest. */
data class Padding(val atEnd: Boolean, val fill: Int)

/** What a file says of its suppression. */
data class Suppression(val scoreThreshold: Float, val iouThreshold: Float, val maxDetections: Int)

/**
 * What an exported .tflite says of itself: the size of its input, and the facedet.json that the export packed behind it as a zip.
 *
 * Plain Kotlin, no Android. Throws IllegalArgumentException for a file that was not made by scripts/export_tflite.py.
 */
class ModelFile(private val name: String, bytes: ByteArray) {
    private val data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
    private val json = try {
        packedFile(DETAILS)
    } catch (error: IndexOutOfBoundsException) {
        throw IllegalArgumentException("$name: its $DETAILS is damaged: take a whole copy.", error)
    } ?: throw IllegalArgumentException("$name holds no $DETAILS: it was not made by scripts/export_tflite.py.")

    val isInt8 = value("precision") { it.trim('"') } == "int8"
    val withNms = value("with_nms") { it.toBooleanStrictOrNull() }
    val suppression = Suppression(
        value("score_threshold") { it.toFloatOrNull() },
        value("iou_threshold") { it.toFloatOrNull() },
        value("max_detections") { it.toIntOrNull() },
    )
    val landmarks = value("landmarks", absent = "0") { text -> text.toIntOrNull().takeIf { it in listOf(0, 5, 6) } }

    /** Null: pictures are stretched to the input. */
    val padding = if ("\"padding\"" !in json) null else Padding(
        atEnd = value("place") { mapOf("\"end\"" to true, "\"centre\"" to false)[it] },
        fill = value("fill") { text ->
            val colour = text.trim('[', ']').split(',').map { it.trim().toIntOrNull()?.takeIf { byte -> byte in 0..255 } }
            if (colour.size == 3) colour.fold(0xff as Int?) { before, byte -> byte?.let { before?.shl(8)?.or(it) } } else null
        },
    )

    /** Names of the outputs, in the file's order. */
    val outputs: List<String> = when {
        withNms && landmarks > 0 -> listOf("detection_boxes", "detection_scores", "detection_landmarks", "num_detections")
        withNms -> listOf("detection_boxes", "detection_classes", "detection_scores", "num_detections")
        landmarks > 0 -> listOf("raw_boxes", "raw_scores", "raw_landmarks")
        else -> listOf("raw_boxes", "raw_scores")
    }
    val inputHeight: Int
    val inputWidth: Int

    init {
        // a flatbuffer: Model.subgraphs[0].inputs[0] is a number of .tensors, whose shape is 1, height, width, 3
        val graph = table(vector(field(data.getInt(0), 2)) + 4)
        val tensor = table(vector(field(graph, 0)) + 4 + 4 * data.getInt(vector(field(graph, 1)) + 4))
        val shape = vector(field(tensor, 0))
        inputHeight = data.getInt(shape + 8)
        inputWidth = data.getInt(shape + 12)
    }

    /** Where a picture of this size lies in the input. */
    fun place(height: Int, width: Int) = Placement.fit(inputHeight, inputWidth, padding, height, width)

    private fun table(reference: Int) = reference + data.getInt(reference)

    private fun vector(reference: Int) = table(reference)

    /** Where field `number` of a table stands. */
    private fun field(table: Int, number: Int) = table + data.getShort(table - data.getInt(table) + 4 + 2 * number)

    /** Of a key, each of which stands once: the export writes facedet.json, and no JSON library runs on both Android and the JVM. */
    private fun <T : Any> value(key: String, absent: String? = null, read: (String) -> T?): T {
        val text = Regex("\"$key\"\\s*:\\s*(\\[[^]]*]|[^,}\\s]+)").find(json)?.groupValues?.get(1) ?: absent
        return requireNotNull(text?.let(read)) { "$name: $key in its $DETAILS is $text: export the file anew." }
    }

    /** The text of a file that is stored as it is in the zip at the end; null where there is none. */
    private fun packedFile(wanted: String): String? {
        val end = (data.limit() - END_SIZE downTo 0).firstOrNull { data.getInt(it) == END } ?: return null
        var entry = data.getInt(end + 16)
        while (entry < end && data.getInt(entry) == ENTRY) {
            val (name, extra, comment) = listOf(28, 30, 32).map { data.getShort(entry + it).toInt() }
            if (text(entry + 46, name) == wanted) {
                val from = data.getInt(entry + 42)
                return text(from + 30 + data.getShort(from + 26) + data.getShort(from + 28), data.getInt(entry + 20))
            }
            entry += 46 + name + extra + comment
        }
        return null
    }

    private fun text(from: Int, size: Int) = String(data.array(), from, size)

    private companion object {
        const val DETAILS = "facedet.json"
        const val END = 0x06054b50 // of a zip; so many bytes are its last record, at least
        const val END_SIZE = 22
        const val ENTRY = 0x02014b50 // of its list of files
    }
}
