package samclip

import java.util.BitSet
import kotlin.math.exp
import kotlin.math.min

/**
 * How well a label fits each cell of an image: logits [side,side] over the model's input.
 *
 * The graph text_to_mask@S holds the same steps. Here they are for those who show the map, for those who ask which of
 * many labels are there without drawing any mask, and for bundles without that graph.
 */
class ScoreMap internal constructor(val logits: FloatArray, val side: Int, val frame: Frame) {
    private val rows = frame.coveredRows(side)
    private val columns = frame.coveredColumns(side)
    private val cells: List<Int> get() = (0 until rows).flatMap { y -> y * side until y * side + columns }

    /** 0..1: the highest score outside the padding. */
    val presence: Float get() = sigmoid(cells.maxOf { logits[it] })

    /**
     * The best cells whose score is above a threshold, the very best in any case, as (x, y) in model pixels.
     *
     * The rule is `points_and_box` of `samclip_sdk/engine/label_points.py`.
     */
    fun points(count: Int, threshold: Float): List<Point> = points(count, threshold, cells)

    private fun points(count: Int, threshold: Float, cells: List<Int>): List<Point> {
        val best = cells.sortedByDescending { logits[it] }.take(count)
        val kept = best.filterIndexed { place, cell -> place == 0 || sigmoid(logits[cell]) > threshold }
        return kept.map(::centre)
    }

    /** The middle of a cell in model pixels, as `cell_points` of `label_points.py` has it. */
    internal fun centre(cell: Int): Point = Point(centre(cell % side, frame.columns), centre(cell / side, frame.rows))

    /**
     * What the decoder is asked for a label: its best cells, and the box around all of its parts.
     *
     * The rules are `find_parts` of `samclip_sdk/engine/label_search.py` and `points_and_box`.
     */
    internal fun tokens(count: Int, calibration: Calibration): List<Token> {
        val parts = parts(calibration)
        val points = points(count, calibration.maskThresholdScore, parts).map { Token(Token.FOREGROUND, it.x, it.y) }
        return points + corners(parts)
    }

    /** The box around cells, as `part_corners` of `label_points.py` draws it. */
    internal fun corners(cells: List<Int>): List<Token> {
        val across = cells.map { it % side }
        val down = cells.map { it / side }
        return listOf(
            Token(Token.TOP_LEFT, edge(across.min(), frame.columns), edge(down.min(), frame.rows)),
            Token(Token.BOTTOM_RIGHT, edge(across.max() + 1, frame.columns), edge(down.max() + 1, frame.rows)),
        )
    }

    /** The cells of the parts: those connected, above a threshold, to a cell where the label is present. */
    private fun parts(calibration: Calibration): List<Int> {
        val best = cells.maxBy { logits[it] }
        val enough = cells.filter { it == best || sigmoid(logits[it]) > calibration.maskThresholdScore }
        val pieces = Pieces(BitSet().apply { enough.forEach(::set) }, side, diagonal = true)
        val there = enough.filter { it == best || sigmoid(logits[it]) >= calibration.presenceThreshold }
            .mapTo(HashSet()) { pieces[it] }
        return enough.filter { pieces[it] in there }
    }

    /** The mask prompt [size,size]: scores clipped to +-10, scaled bilinearly, -10 in the padding. */
    fun maskPrompt(size: Int, scale: Float): FloatArray {
        val clipped = FloatArray(side * side) { cell ->
            val inside = min(cell / side, rows - 1) * side + min(cell % side, columns - 1)
            (scale * logits[inside]).coerceIn(-LIMIT, LIMIT)
        }
        val prompt = FloatArray(size * size) { -LIMIT }
        Resize(clipped, side, rows = side, columns = side).to(size, size) { y, row ->
            if (y < frame.coveredRows(size)) row.copyInto(prompt, y * size, 0, frame.coveredColumns(size))
        }
        return prompt
    }

    private fun edge(cell: Int, filled: Int): Float = min(cell * frame.resolution.toFloat() / side, filled.toFloat())

    private fun centre(cell: Int, filled: Int): Float =
        min((cell + 0.5) * frame.resolution / side - 0.5, filled - 1.0).toFloat()

    internal companion object {
        /** The bound of a mask prompt's logits. */
        const val LIMIT = 10f
    }
}

internal fun sigmoid(x: Float): Float = (1 / (1 + exp(-x.toDouble()))).toFloat()

/** The side of the square of an image's patches. */
internal fun gridSide(patches: List<FloatArray>): Int = generateSequence(1) { it + 1 }.first { it * it >= patches.size }
