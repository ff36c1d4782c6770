@file:Suppress("UNUSED_PARAMETER", "unused")

package android.graphics

class Bitmap private constructor(val width: Int, val height: Int) {
    enum class Config { ARGB_8888 }

    fun getPixels(pixels: IntArray, offset: Int, stride: Int, x: Int, y: Int, width: Int, height: Int): Unit = TODO()

    companion object {
        fun createBitmap(width: Int, height: Int, config: Config): Bitmap = Bitmap(width, height)

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

/** Keeps what is asked of it, for Preview.kt. */
class Canvas {
    val calls = mutableListOf<List<Any?>>()

    fun save(): Int {
        calls += listOf("save")
        return 1
    }

    fun restore() {
        calls += listOf("restore")
    }

    fun scale(sx: Float, sy: Float, px: Float, py: Float) {
        calls += listOf("scale", sx, sy, px, py)
    }

    fun drawColor(color: Int) {
        calls += listOf("drawColor", color)
    }

    fun drawBitmap(bitmap: Bitmap, source: Rect?, target: RectF, paint: Paint?) {
        calls += listOf("drawBitmap", target.left, target.top, target.right, target.bottom)
    }

    fun drawRect(left: Float, top: Float, right: Float, bottom: Float, paint: Paint) {
        calls += listOf("drawRect", left, top, right, bottom)
    }

    fun drawCircle(x: Float, y: Float, radius: Float, paint: Paint) {
        calls += listOf("drawCircle", x, y, radius)
    }

    fun drawText(text: String, x: Float, y: Float, paint: Paint) {
        calls += listOf("drawText", text, x, y)
    }
}
