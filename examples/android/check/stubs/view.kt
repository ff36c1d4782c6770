@file:Suppress("UNUSED_PARAMETER", "unused")

package android.view

import android.content.Context
import android.graphics.Canvas

class WindowInsets {
    @Deprecated("since Android 11")
    val systemWindowInsetBottom: Int get() = TODO()
}

open class View(context: Context) {
    val width: Int get() = TODO()
    val height: Int get() = TODO()
    val rootWindowInsets: WindowInsets? get() = TODO()
    var contentDescription: CharSequence? = null

    fun post(action: () -> Unit): Boolean = TODO()

    fun invalidate(): Unit = TODO()

    protected open fun onDraw(canvas: Canvas): Unit = TODO()
}
