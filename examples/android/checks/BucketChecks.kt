package samclip.checks

import samclip.Axis
import samclip.Buckets
import samclip.GraphSpec
import samclip.PromptException
import samclip.Tensor
import samclip.TensorSpec

private val PROMPTS = Axis("num_prompts")
private val POINTS = Axis("num_points")

/** A graph of points with labels and a colour: where each point is, moved by the colour, and the sum of each prompt. */
private val SPEC = GraphSpec(
    listOf(
        TensorSpec("point_coords", "float32", listOf(PROMPTS, POINTS, Axis(null, 2))),
        TensorSpec("point_labels", "int32", listOf(PROMPTS, POINTS)),
        TensorSpec("colour", "uint8", listOf(Axis(null, 1), Axis(null, 3))),
    ),
    listOf(
        TensorSpec("moved", "float32", listOf(PROMPTS, POINTS, Axis(null, 2))),
        TensorSpec("sum", "float32", listOf(PROMPTS)),
    ),
)

private fun feed(prompts: Int, points: Int) = mapOf(
    "point_coords" to Tensor.F32(FloatArray(prompts * points * 2) { it + 1f }, prompts.toLong(), points.toLong(), 2),
    "point_labels" to Tensor.I32(IntArray(prompts * points) { it % 2 }, prompts.toLong(), points.toLong()),
    "colour" to Tensor.U8(byteArrayOf(5, 6, 7), 1, 3),
)

/** The graph itself; like the real one it leaves points with the label -2 out of the sum. */
private fun compute(inputs: Map<String, Tensor>): Map<String, Tensor> {
    val points = inputs.getValue("point_coords") as Tensor.F32
    val labels = (inputs.getValue("point_labels") as Tensor.I32).data
    val colour = (inputs.getValue("colour") as Tensor.U8).data.sum()
    val each = points.shape[1].toInt()
    val sums = FloatArray(points.shape[0].toInt()) { row ->
        val own = (row * each until (row + 1) * each).filter { labels[it] != -2 }
        own.sumOf { points.data[2 * it].toDouble() }.toFloat()
    }
    val moved = FloatArray(points.data.size) { points.data[it] + colour }
    return mapOf("moved" to Tensor.F32(moved, *points.shape), "sum" to Tensor.F32(sums, points.shape[0]))
}

/** Graphs with fixed lengths: what they are given, and that an answer does not depend on it. */
internal fun bucketChecks(checks: Checks) {
    val lengths = listOf(8L, 1L).map { mapOf("num_prompts" to it, "num_points" to 4L) }
    val buckets = Buckets(SPEC, lengths)
    for ((prompts, expected) in mapOf(0 to "1", 1 to "1", 2 to "8", 8 to "8", 9 to "8, 1", 20 to "8, 8, 8")) {
        for (points in 1..4) checks.check("$prompts prompts of $points points, on graphs of 1 and of 8 prompts") {
            val inputs = feed(prompts, points)
            val calls = ArrayList<Long>()
            val found = buckets.run(inputs) { bucket, given ->
                calls += lengths[bucket].getValue("num_prompts")
                val shape = longArrayOf(calls.last(), 4, 2)
                check(given.getValue("point_coords").shape.contentEquals(shape)) { "it was not padded" }
                compute(given)
            }
            check(calls.joinToString() == expected) { "it ran on $calls" }
            for ((name, tensor) in compute(inputs)) {
                val other = found.getValue(name) as Tensor.F32
                check(other.shape.contentEquals(tensor.shape)) { "$name is ${other.shape.toList()}" }
                check(other.data.contentEquals((tensor as Tensor.F32).data)) { "$name is ${other.data.toList()}" }
            }
        }
    }
    checks.refuses<PromptException>("more points than a graph takes", "num_points is 5", "at most 4") {
        buckets.run(feed(prompts = 1, points = 5)) { _, given -> compute(given) }
    }
}
