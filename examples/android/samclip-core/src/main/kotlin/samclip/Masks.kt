package samclip

import java.util.BitSet
import kotlin.math.floor

/** Which pixels of an image belong to something; an empty one takes no memory. */
class Mask internal constructor(val width: Int, val height: Int, private val bits: BitSet) {
    /** How many pixels it has. */
    val area: Int get() = bits.cardinality()

    operator fun get(x: Int, y: Int): Boolean {
        require(x in 0 until width && y in 0 until height) { "($x, $y) is outside the mask of $width x $height" }
        return bits[y * width + x]
    }

    /** The pixels that another mask does not have. */
    internal fun without(other: Mask): Mask =
        Mask(width, height, (bits.clone() as BitSet).apply { andNot(other.bits) })

    internal companion object {
        fun empty(frame: Frame) = Mask(frame.width, frame.height, BitSet())

        /** Logits [side,side] of the decoder -> a mask: to the input's size, the padding cut, to the image's. */
        fun ofLowResolution(logits: FloatArray, side: Int, frame: Frame, threshold: Float): Mask =
            ofLowResolution(logits, side, frame, listOf(threshold)).single()

        /** A mask for each threshold. */
        fun ofLowResolution(logits: FloatArray, side: Int, frame: Frame, thresholds: List<Float>): List<Mask> {
            val size = frame.resolution
            val model = FloatArray(size * size)
            Resize(logits, side, rows = side, columns = side).to(size, size) { y, row -> row.copyInto(model, y * size) }
            return ofModel(model, frame, thresholds)
        }

        /** Logits [S,S] in the model's frame -> a mask: the padding cut, to the image's size. */
        fun ofModel(logits: FloatArray, frame: Frame, threshold: Float): Mask =
            ofModel(logits, frame, listOf(threshold)).single()

        private fun ofModel(logits: FloatArray, frame: Frame, thresholds: List<Float>): List<Mask> {
            val masks = thresholds.map { it to BitSet(frame.width * frame.height) }
            Resize(logits, frame.resolution, frame.rows, frame.columns).to(frame.height, frame.width) { y, row ->
                for ((threshold, bits) in masks) {
                    for (x in row.indices) if (row[x] > threshold) bits.set(y * frame.width + x)
                }
            }
            return masks.map { (_, bits) -> Mask(frame.width, frame.height, bits) }
        }
    }
}

/** A mask of the decoder: its logits [side,side], and its IoU as the model expects it. */
internal class DrawnMask(val logits: FloatArray, val predictedIou: Float) {
    companion object {
        /** How many masks the decoder draws for each prompt; the first one is of a prompt that is not ambiguous. */
        const val EACH = 4

        /** All masks of the decoder's outputs, prompt by prompt. */
        fun all(decoded: Map<String, Tensor>): List<DrawnMask> {
            val logits = decoded.floats("low_res_masks").data
            val predicted = decoded.floats("iou_predictions").data
            val size = logits.size / predicted.size
            return predicted.indices.map { DrawnMask(logits.copyOfRange(it * size, (it + 1) * size), predicted[it]) }
        }
    }
}

/** What text_to_mask@S gives for a label: logits [S,S] over the model's input, or null if the label is not there. */
internal class DrawnText(val presence: Float, val score: Float, val logits: FloatArray?) {
    /** A label that either may be: the likelier one's presence and score, and the pixels of both that are there. */
    fun or(other: DrawnText): DrawnText {
        val best = if (other.presence > presence) other else this
        val both = when {
            logits == null -> other.logits
            other.logits == null -> logits
            else -> FloatArray(logits.size) { maxOf(logits[it], other.logits[it]) }
        }
        return DrawnText(best.presence, best.score, both)
    }

    companion object {
        /** One for each row of the graph's outputs, which are of these labels. */
        fun all(found: Map<String, Tensor>, labels: List<AskedLabel>): List<DrawnText> {
            val presences = found.floats("presence").data
            val scores = found.floats("scores").data
            val logits = found.floats("mask_logits").data
            val size = logits.size / labels.size
            return labels.mapIndexed { row, label ->
                val there = presences[row] >= label.threshold
                val own = if (there) logits.copyOfRange(row * size, (row + 1) * size) else null
                DrawnText(presences[row], scores[row], own)
            }
        }
    }
}

/** The top left rows x columns of a map, scaled bilinearly: half-pixel centres, edges repeated. */
internal class Resize(private val map: FloatArray, private val stride: Int, val rows: Int, val columns: Int) {
    /** Gives each row of the result, in an array that is used again for the next. */
    fun to(height: Int, width: Int, take: (Int, FloatArray) -> Unit) {
        val across = Taps(columns, width)
        val down = Taps(rows, height)
        val wide = Array(rows) { y ->
            FloatArray(width) { x ->
                val from = y * stride + across.first[x]
                map[from] + (map[y * stride + across.second[x]] - map[from]) * across.share[x]
            }
        }
        val row = FloatArray(width)
        for (y in 0 until height) {
            val above = wide[down.first[y]]
            val below = wide[down.second[y]]
            for (x in row.indices) row[x] = above[x] + (below[x] - above[x]) * down.share[y]
            take(y, row)
        }
    }

    private class Taps(source: Int, target: Int) {
        val first = IntArray(target)
        val second = IntArray(target)
        val share = FloatArray(target)

        init {
            for (x in 0 until target) {
                val place = ((x + 0.5) * source / target - 0.5).coerceIn(0.0, source - 1.0)
                first[x] = floor(place).toInt()
                second[x] = minOf(first[x] + 1, source - 1)
                share[x] = (place - first[x]).toFloat()
            }
        }
    }
}
