package samclip

import java.io.File

/** A runtime that opens graphs: `samclip-android` brings onnxruntime's, `samclip-litert` LiteRT's. */
fun interface Backend {
    /** The runtime whose files of a bundle it opens, by its name in the manifest. */
    val runtime: String get() = "onnx"

    /** Opens a graph's file; the weights that it refers to lie beside it. */
    fun open(file: File, spec: GraphSpec): Graph
}

/** An open graph. Any number of threads may run it. */
interface Graph : AutoCloseable {
    /** Runs it on inputs by name, and returns the outputs that were asked for by name. */
    fun run(inputs: Map<String, Tensor>, outputs: List<String>): Map<String, Tensor>
}

/** The inputs and outputs of a graph, as the manifest tells them. */
class GraphSpec internal constructor(val inputs: List<TensorSpec>, val outputs: List<TensorSpec>)

/** An input or output of a graph; [type] is "float32", "int32" or "uint8". */
class TensorSpec internal constructor(val name: String, val type: String, val axes: List<Axis>) {
    /** Its shape where the named axes have these lengths. */
    fun shape(lengths: Map<String, Long>): LongArray = LongArray(axes.size) { axes[it].length(lengths) }
}

/** An axis of a fixed length, or one with a [name], which is of any length: the same for all tensors of a call. */
class Axis internal constructor(val name: String?, private val fixed: Long = 0) {
    fun length(lengths: Map<String, Long>): Long = if (name == null) fixed else lengths.getValue(name)
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
