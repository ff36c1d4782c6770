@file:Suppress("UNUSED_PARAMETER", "unused")

package android.content

import java.util.concurrent.Executor

class AssetManager

open class Context {
    val assets: AssetManager get() = TODO()
    val mainExecutor: Executor get() = TODO()
}
