package samclip

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/** Pillow's bilinear resize with antialiasing, level by level; for bundles without the graph letterbox@S. */
internal object Letterbox {
    private const val BITS = 22
    private const val HALF = 1 shl (BITS - 1)

    /** The model's input, planar [3,S,S], with the image at its top left. */
    fun square(rgbImage: RgbImage, frame: Frame, padColour: List<Int>): ByteArray {
        val wide = Weights(rgbImage.width, frame.columns)
        val tall = Weights(rgbImage.height, frame.rows)
        val middle = ByteArray(rgbImage.height * frame.columns * 3)
        for (y in 0 until rgbImage.height) for (x in 0 until frame.columns) for (c in 0..2) {
            val start = (y * rgbImage.width + wide.first[x]) * 3 + c
            middle[(y * frame.columns + x) * 3 + c] = wide.sum(x, rgbImage.rgb, start, stride = 3)
        }
        val side = frame.resolution
        val square = ByteArray(3 * side * side) { padColour[it / (side * side)].toByte() }
        for (y in 0 until frame.rows) for (x in 0 until frame.columns) for (c in 0..2) {
            val start = (tall.first[y] * frame.columns + x) * 3 + c
            square[(c * side + y) * side + x] = tall.sum(y, middle, start, stride = 3 * frame.columns)
        }
        return square
    }

    /** For each pixel of a target axis, its weights on the source axis: a triangle, in fixed point. */
    private class Weights(source: Int, target: Int) {
        val first = IntArray(target)
        private val fixed: Array<IntArray>

        init {
            val scale = source.toDouble() / target
            val support = max(scale, 1.0)
            fixed = Array(target) { x ->
                val centre = (x + 0.5) * scale
                val from = max(0, (centre - support + 0.5).toInt())
                val to = min(source, (centre + support + 0.5).toInt())
                first[x] = from
                val weights = DoubleArray(to - from) { max(0.0, 1 - abs((it + from - centre + 0.5) / support)) }
                val sum = weights.sum()
                IntArray(weights.size) { (weights[it] / sum * (1 shl BITS) + 0.5).toInt() }
            }
        }

        fun sum(x: Int, values: ByteArray, start: Int, stride: Int): Byte {
            var sum = HALF
            var at = start
            for (weight in fixed[x]) {
                sum += (values[at].toInt() and 255) * weight
                at += stride
            }
            return (sum shr BITS).coerceIn(0, 255).toByte()
        }
    }
}
