@file:Suppress("UNUSED_PARAMETER", "unused")

package com.google.mediapipe.tasks.core

class BaseOptions {
    class Builder {
        fun setModelAssetPath(path: String): Builder = TODO()

        fun build(): BaseOptions = TODO()
    }

    companion object {
        fun builder(): Builder = TODO()
    }
}
