package org.facedet.example

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas

/** Shows a picture of 100 x 150 with two faces in a view of 500 x 300, for the test beside. Output: a line a call to the canvas. */
fun main() {
    val view = FacesView(Context())
    view.layout(0, 0, 500, 300)
    val faces = listOf(0.1f, 0.5f).map { left ->
        Face(left, 0.2f, left + 0.4f, 0.6f, 0.9f, List(5) { Point(left + 0.1f * it, 0.3f + 0.05f * it) })
    }
    view.show(Bitmap.createBitmap(100, 150, Bitmap.Config.ARGB_8888), faces, "2 faces")
    println(Canvas().also(view::draw).calls.joinToString("\n") { it.joinToString(" ") })
}
