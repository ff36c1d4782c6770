@file:Suppress("UNUSED_PARAMETER", "unused")

package android.content

import java.io.InputStream
import java.util.concurrent.Executor

class AssetManager {
    fun open(name: String): InputStream = TODO()
}

open class Context {
    val assets: AssetManager get() = TODO()
    val mainExecutor: Executor get() = TODO()
}
