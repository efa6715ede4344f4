package samclip

/**
 * Runs any number of rows on a graph with a few fixed lengths: cuts, pads and trims.
 *
 * The rules are those of `samclip_sdk/runtimes/buckets.py`: an axis that is the first one of every output is cut into
 * calls, any other is padded only. An answer does not depend on the bucket that computed it.
 *
 * @param lengths of each bucket, the length of each named axis.
 */
class Buckets(private val spec: GraphSpec, private val lengths: List<Map<String, Long>>) {
    private val cutAxis = spec.outputs.map { it.axes.first().name }.distinct().singleOrNull()

    /** Runs a graph; [call] runs one bucket, by its place, on inputs of exactly its lengths. */
    fun run(
        inputs: Map<String, Tensor>,
        call: (Int, Map<String, Tensor>) -> Map<String, Tensor>,
    ): Map<String, Tensor> {
        val asked = HashMap<String, Long>()
        for (each in spec.inputs) each.axes.forEachIndexed { place, axis ->
            if (axis.name != null) asked[axis.name] = inputs.getValue(each.name).shape[place]
        }
        val fitting = fitting(asked)
        val results = spec.outputs.associate { it.name to filled(it, it.shape(asked)) }
        val count = asked[cutAxis] ?: 1
        var start = 0L
        do {
            val bucket = fitting.find { holds(it, count - start) } ?: fitting.last()
            val rows = minOf(count - start, lengths[bucket][cutAxis] ?: 1)
            val part = if (cutAxis == null) asked else asked + (cutAxis to rows)
            val found = call(bucket, spec.inputs.associate { it.name to padded(it, inputs, part, bucket, start) })
            for (each in spec.outputs) {
                val to = if (cutAxis == null) 0 else start
                copy(found.getValue(each.name), 0, results.getValue(each.name), to, each.shape(part))
            }
            start += rows
        } while (start < count)
        return results
    }

    /** The buckets whose uncut axes are long enough, the smallest first. */
    private fun fitting(asked: Map<String, Long>): List<Int> {
        val uncut = asked - setOfNotNull(cutAxis)
        for ((axis, length) in uncut) {
            val longest = lengths.maxOf { it.getValue(axis) }
            if (length > longest) {
                throw PromptException("$axis is $length, and this graph takes at most $longest: give fewer")
            }
        }
        return lengths.indices
            .filter { bucket -> uncut.all { (axis, length) -> lengths[bucket].getValue(axis) >= length } }
            .sortedBy { lengths[it].values.fold(1L, Long::times) }
    }

    private fun holds(bucket: Int, rows: Long) = rows <= (lengths[bucket][cutAxis] ?: rows)

    /** The part of an input that a call takes, in the lengths of its bucket. */
    private fun padded(
        input: TensorSpec,
        inputs: Map<String, Tensor>,
        part: Map<String, Long>,
        bucket: Int,
        start: Long,
    ): Tensor {
        val own = inputs.getValue(input.name)
        val shape = input.shape(lengths[bucket])
        val cut = cutAxis != null && input.axes.first().name == cutAxis
        if (own.shape.contentEquals(shape)) return own
        return filled(input, shape).also { copy(own, if (cut) start else 0, it, 0, input.shape(part)) }
    }

    /** A tensor of padding: filler where it holds the labels of points, which a model masks out, else zero. */
    private fun filled(tensor: TensorSpec, shape: LongArray): Tensor {
        val size = shape.fold(1L, Long::times).toInt()
        return when (tensor.type) {
            "float32" -> Tensor.F32(FloatArray(size), *shape)
            "int32" -> Tensor.I32(IntArray(size) { if (tensor.name == "point_labels") Token.FILLER else 0 }, *shape)
            "uint8" -> Tensor.U8(ByteArray(size), *shape)
            else -> throw BundleException("${tensor.name} is of ${tensor.type}; this reader knows no such tensors")
        }
    }

    /** Copies a block of a shape, from a row of a tensor on, to a row of another. */
    private fun copy(from: Tensor, fromRow: Long, to: Tensor, toRow: Long, shape: LongArray) {
        fun copy(axis: Int, fromAt: Long, toAt: Long) {
            if (axis == shape.lastIndex) {
                System.arraycopy(from.array, fromAt.toInt(), to.array, toAt.toInt(), shape[axis].toInt())
                return
            }
            for (row in 0 until shape[axis]) {
                copy(axis + 1, (fromAt + row) * from.shape[axis + 1], (toAt + row) * to.shape[axis + 1])
            }
        }
        copy(0, fromRow, toRow)
    }

    private val Tensor.array: Any
        get() = when (this) {
            is Tensor.F32 -> data
            is Tensor.U8 -> data
            is Tensor.I32 -> data
        }
}
