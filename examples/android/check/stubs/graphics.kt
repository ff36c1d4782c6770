@file:Suppress("UNUSED_PARAMETER", "unused")

package android.graphics

class Bitmap {
    val width: Int get() = TODO()
    val height: Int get() = TODO()

    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int): Unit = TODO()

    companion object {
        fun createScaledBitmap(source: Bitmap, width: Int, height: Int, filter: Boolean): Bitmap = TODO()

        fun createBitmap(source: Bitmap, x: Int, y: Int, width: Int, height: Int, matrix: Matrix?, filter: Boolean): Bitmap = TODO()
    }
}

class Matrix {
    fun postRotate(degrees: Float): Boolean = TODO()
}

class Rect

class RectF(val left: Float, val top: Float, val right: Float, val bottom: Float)

object Color {
    const val BLACK = 0
    const val GREEN = 1
    const val WHITE = 2
}

class Paint {
    enum class Style { STROKE }

    var color: Int = 0
    var style: Style = Style.STROKE
    var strokeWidth: Float = 0f
    var textSize: Float = 0f
}

class Canvas {
    fun save(): Int = TODO()

    fun restore(): Unit = TODO()

    fun scale(sx: Float, sy: Float, px: Float, py: Float): Unit = TODO()

    fun drawColor(color: Int): Unit = TODO()

    fun drawBitmap(bitmap: Bitmap, source: Rect?, target: RectF, paint: Paint?): Unit = TODO()

    fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint): Unit = TODO()

    fun drawCircle(x: Float, y: Float, radius: Float, paint: Paint): Unit = TODO()

    fun drawText(text: String, x: Float, y: Float, paint: Paint): Unit = TODO()
}
