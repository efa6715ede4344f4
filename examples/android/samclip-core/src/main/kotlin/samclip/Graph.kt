package samclip

import java.io.File

/** A runtime that opens graphs. `samclip-android` brings onnxruntime's. */
fun interface Backend {
    /** Opens an ONNX file; the weights that it refers to lie beside it. */
    fun open(file: File): Graph
}

/** An open graph. Any number of threads may run it. */
interface Graph : AutoCloseable {
    /** Runs it on inputs by name, and returns the outputs that were asked for by name. */
    fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor>
}

/** An array of numbers, row by row, with its shape. */
sealed class Tensor {
    abstract val shape: LongArray

    class F32(val data: FloatArray, override vararg val shape: Long) : Tensor()

    class U8(val data: ByteArray, override vararg val shape: Long) : Tensor()

    class I32(val data: IntArray, override vararg val shape: Long) : Tensor()
}

internal fun Map<String, Tensor>.floats(name: String): Tensor.F32 =
    this[name] as? Tensor.F32 ?: throw BundleException("a graph gave no float32 output $name")
