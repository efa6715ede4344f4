package samclip

import java.util.BitSet
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max

/**
 * An object of a label, and its mask.
 *
 * The [score] (0..1) tells how likely the object is right. It comes of the other three: how well the label fits, the
 * mask's IoU as the model expects it, and how little the mask depends on its threshold. If the label is read as another
 * word, or is not known, [readAs] tells it.
 */
class ObjectMask internal constructor(
    val label: String,
    val score: Float,
    val labelScore: Float,
    val predictedIou: Float,
    val stabilityScore: Float,
    val mask: Mask,
    val readAs: Reading? = null,
) {
    internal fun with(mask: Mask) = ObjectMask(label, score, labelScore, predictedIou, stabilityScore, mask, readAs)
}

/** A place where a label may have an object: a prompt of the mask decoder, with its mask prompt. */
internal class Candidate(val tokens: List<Token>, val map: FloatArray)

/** A label as the patches of an image and the calibration of a model see it. */
internal class SeenLabel(
    val asked: AskedLabel,
    private val patches: List<FloatArray>,
    val calibration: Calibration,
) {
    /** How well the label fits the patches under a mask [side,side], each weighted by its covered share. */
    fun score(mask: BitSet, side: Int): Float {
        val grid = gridSide(patches)
        val shares = FloatArray(patches.size)
        val share = (grid * grid).toFloat() / (side * side)
        for (cell in mask.stream()) shares[cell / side * grid / side * grid + cell % side * grid / side] += share
        val pooled = FloatArray(patches.first().size)
        for ((place, patch) in patches.withIndex()) for (i in pooled.indices) pooled[i] += shares[place] * patch[i]
        val seen = unitLength(pooled)
        return sigmoid(calibration.logit(asked.texts.maxOf { dot(seen, it) }))
    }
}

/**
 * The parts of a label's mask as objects, by the decoder's logits [side,side] over the model's input.
 *
 * The rules are those of `samclip_sdk/engine/instances.py` and `object_candidates.py`; a pixel's logit must exceed the
 * threshold.
 */
internal class Objects(private val frame: Frame, private val side: Int, private val threshold: Float) {
    private val rows = frame.coveredRows(side)
    private val columns = frame.coveredColumns(side)
    private val size = side * side

    /** What the decoder is asked for the parts of a mask that do not touch, the largest part first. */
    fun candidates(logits: FloatArray): List<Candidate> {
        val inside = inside(logits)
        val parts = Pieces(inside, side, diagonal = false)
        val map = ScoreMap(FloatArray(size) { logits[it] - threshold }, side, frame)
        val whole = map.maskPrompt(side, 1f)
        val least = max(LEAST_CELLS, LEAST_PART * (parts.sizes.maxOrNull() ?: 0))
        val largest = parts.sizes.indices.sortedByDescending { parts.sizes[it] }.take(MAX_CANDIDATES)
        return largest.filter { parts.sizes[it] >= least }.map { part ->
            val own = cells(size) { parts[it] == part }
            val point = map.centre(deepest(own))
            Candidate(
                listOf(Token(Token.FOREGROUND, point.x, point.y)) + map.corners(own.stream().toArray().asList()),
                FloatArray(size) { if (inside[it] && !own[it]) -ScoreMap.LIMIT else whole[it] },
            )
        }
    }

    /** The best of the decoder's masks for a candidate: by its predicted IoU, and by the overlap with the candidate. */
    fun best(drawn: List<DrawnMask>, candidate: Candidate): DrawnMask =
        drawn.maxBy { max(it.predictedIou, 0f) * overlap(it.logits, candidate.map) }

    /** The objects that a label's masks show, without duplicates and fragments, the best first. */
    fun distinct(drawn: List<DrawnMask>, label: SeenLabel): List<ObjectMask> {
        val clean = drawn.map { DrawnMask(withoutSpecks(it.logits), it.predictedIou) }
        val all = clean.map { inside(it.logits) to judged(it, label) }
        val least = LEAST_SHARE * (all.maxOfOrNull { (_, found) -> found.score } ?: 0f)
        // A mask that lies only in the padding may leak a few pixels into the image.
        val kept = all.filter { (small, found) -> !small.isEmpty && found.mask.area > 0 && found.score >= least }
        val found = kept.map { it.second }
        val distinct = settled(kept.map { (small, _) -> Mask(side, side, small) }, found.map { it.score })
        return found.filterIndexed { place, _ -> distinct[place] != null }.sortedByDescending { it.score }
    }

    /** Removes specks and fills holes that are far smaller than the largest piece: they just cross the threshold. */
    fun withoutSpecks(logits: FloatArray): FloatArray {
        val pieces = Pieces(cells(size) { logits[it] > threshold }, side, diagonal = true)
        val least = SPECK_SHARE * (pieces.sizes.maxOrNull() ?: 0)
        fun across(values: FloatArray, pieces: Pieces, value: Float) =
            FloatArray(size) { if (pieces[it] >= 0 && pieces.sizes[pieces[it]] < least) value else values[it] }
        val cleaned = across(logits, pieces, threshold - BARELY)
        val holes = Pieces(cells(size) { cleaned[it] <= threshold }, side, diagonal = false)
        return across(cleaned, holes, threshold + BARELY)
    }

    private fun judged(drawn: DrawnMask, label: SeenLabel): ObjectMask {
        val thresholds = listOf(threshold - STABILITY_OFFSET, threshold, threshold + STABILITY_OFFSET)
        val (most, mask, least) = Mask.ofLowResolution(drawn.logits, side, frame, thresholds)
        val stability = least.area.toFloat() / max(most.area, 1)
        val fits = label.score(inside(drawn.logits), side)
        val score = objectScore(fits, drawn.predictedIou, stability, label.calibration.objects)
        val predicted = drawn.predictedIou.coerceAtMost(1f)
        return ObjectMask(label.asked.label, score, fits, predicted, stability, mask, label.asked.readAs)
    }

    /** The cells of a mask; none is in the padding. */
    private fun inside(logits: FloatArray): BitSet =
        cells(size) { logits[it] > threshold && it / side < rows && it % side < columns }

    /** The IoU of two masks by the probabilities of their cells. */
    private fun overlap(first: FloatArray, second: FloatArray): Float {
        var shared = 0.0
        var either = 0.0
        for (y in 0 until rows) for (cell in y * side until y * side + columns) {
            val one = sigmoid(first[cell])
            val other = sigmoid(second[cell])
            shared += minOf(one, other)
            either += maxOf(one, other)
        }
        return (shared / either).toFloat()
    }

    /** The cell that is farthest from the edge of a part, by the distances of OpenCV; the map's edge is none. */
    private fun deepest(part: BitSet): Int {
        val depth = IntArray(size) { if (part[it]) FAR else 0 }
        fun pass(cells: IntProgression, step: Int) {
            for (cell in cells) for ((across, down, distance) in BEFORE) {
                val x = cell % side + step * across
                val y = cell / side + step * down
                if (x in 0 until side && y in 0 until side) {
                    depth[cell] = minOf(depth[cell], depth[y * side + x] + distance)
                }
            }
        }
        pass(depth.indices, 1)
        pass(depth.indices.reversed(), -1)
        return depth.indices.maxBy { depth[it] }
    }

    private companion object {
        const val MAX_CANDIDATES = 64
        const val LEAST_CELLS = 20.0
        const val LEAST_PART = 0.02
        const val LEAST_SHARE = 0.05f
        const val SPECK_SHARE = 0.01
        const val BARELY = 0.5f // logits
        const val STABILITY_OFFSET = 1f // logits
        const val FAR = Int.MAX_VALUE / 2

        /** The neighbours that come before a cell, across and down, and how far they are, times 2^16. */
        val BEFORE = listOf(
            Triple(-1, -1, 89_738), Triple(0, -1, 62_587), Triple(1, -1, 89_738), Triple(-1, 0, 62_587),
        )
    }
}

/** How likely an object is right; the product of the three, if not calibrated. See `object_score.py`. */
private fun objectScore(labelScore: Float, predictedIou: Float, stability: Float, calibration: ObjectScore?): Float {
    val predicted = predictedIou.coerceIn(0f, 1f)
    if (calibration == null) return labelScore * predicted * stability
    val fits = labelScore.toDouble().coerceIn(LEAST_FIT, 1 - LEAST_FIT)
    val logit = calibration.labelScore * ln(fits / (1 - fits)) + calibration.predictedIou * predicted +
        calibration.stabilityScore * stability + calibration.bias
    return (1 / (1 + exp(-logit.coerceIn(-80.0, 80.0)))).toFloat()
}

private const val LEAST_FIT = 1e-4
