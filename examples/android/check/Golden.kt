package org.facedet.example

import java.io.DataInputStream
import java.io.File

/**
 * Runs ModelFile, Placement and Faces on what files gave, for the test beside: args are the input and the output file.
 *
 * Input, big-endian: cases; for each the path of a .tflite, height and width of the picture, the least score, and for each output of
 * the file its size and its numbers; then placements; for each height and width of the input, 0 stretched, 1 centre or 2 end, height and
 * width of the picture.
 * Output: a line a face, 'case left top right bottom score' and x, y of each landmark; a line a placement, 'place height width top left'.
 * A file that cannot be read gives one line 'case message'.
 */
fun main(args: Array<String>) {
    DataInputStream(File(args[0]).inputStream().buffered()).use { input ->
        File(args[1]).printWriter().use { output ->
            repeat(input.readInt()) { case ->
                val path = File(input.readUTF())
                val (height, width) = List(2) { input.readInt() }
                val leastScore = input.readFloat()
                val arrays = List(input.readInt()) { FloatArray(input.readInt()) { input.readFloat() } }
                try {
                    val file = ModelFile(path.name, path.readBytes())
                    for (face in Faces.find(file, file.outputs.zip(arrays).toMap(), leastScore, file.place(height, width))) {
                        val points = face.landmarks.orEmpty().joinToString("") { " ${it.x} ${it.y}" }
                        output.println("$case ${face.left} ${face.top} ${face.right} ${face.bottom} ${face.score}$points")
                    }
                } catch (error: IllegalArgumentException) {
                    output.println("$case ${error.message}")
                }
            }
            repeat(input.readInt()) {
                val (inputHeight, inputWidth, kind) = List(3) { input.readInt() }
                val padding = if (kind == 0) null else Padding(kind == 2, 0)
                val placed = Placement.fit(inputHeight, inputWidth, padding, input.readInt(), input.readInt())
                output.println("place ${placed.height} ${placed.width} ${placed.top} ${placed.left}")
            }
        }
    }
}
