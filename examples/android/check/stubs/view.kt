@file:Suppress("UNUSED_PARAMETER", "unused")

package android.view

import android.content.Context
import android.graphics.Canvas

class WindowInsets {
    @Deprecated("since Android 11")
    val systemWindowInsetBottom: Int get() = TODO()
}

open class View(context: Context) {
    var width = 0
        private set
    var height = 0
        private set
    val rootWindowInsets: WindowInsets? = null
    var contentDescription: CharSequence? = null

    fun post(action: () -> Unit): Boolean = TODO()

    fun invalidate() = Unit

    fun layout(left: Int, top: Int, right: Int, bottom: Int) {
        width = right - left
        height = bottom - top
    }

    fun draw(canvas: Canvas) = onDraw(canvas)

    protected open fun onDraw(canvas: Canvas) = Unit
}
