package samclip

import kotlin.math.exp
import kotlin.math.min

/**
 * How well a label fits each cell of a picture: logits [side,side] over the model's input.
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
        return kept.map { Point(centre(it % side, frame.columns), centre(it / side, frame.rows)) }
    }

    /**
     * What the decoder is asked for a label: its best cells, and the box around all of its parts.
     *
     * The rules are `find_parts` of `samclip_sdk/engine/label_search.py` and `points_and_box`.
     */
    internal fun tokens(count: Int, calibration: Calibration): List<Token> {
        val parts = parts(calibration)
        val points = points(count, calibration.maskThresholdScore, parts).map { Token(Token.FOREGROUND, it.x, it.y) }
        val across = parts.map { it % side }
        val down = parts.map { it / side }
        return points +
            Token(Token.TOP_LEFT, edge(across.min(), frame.columns), edge(down.min(), frame.rows)) +
            Token(Token.BOTTOM_RIGHT, edge(across.max() + 1, frame.columns), edge(down.max() + 1, frame.rows))
    }

    /** The cells of the parts: they grow from where the label is present, over all neighbours above a threshold. */
    private fun parts(calibration: Calibration): List<Int> {
        val best = cells.maxBy { logits[it] }
        val enough = cells.filterTo(HashSet()) { sigmoid(logits[it]) > calibration.maskThresholdScore } + best
        val next = ArrayDeque(enough.filter { it == best || sigmoid(logits[it]) >= calibration.presenceThreshold })
        val parts = BooleanArray(side * side)
        while (next.isNotEmpty()) {
            val cell = next.removeLast()
            if (parts[cell]) continue
            parts[cell] = true
            for (y in cell / side - 1..cell / side + 1) for (x in cell % side - 1..cell % side + 1) {
                if (x in 0 until columns && y in 0 until rows && y * side + x in enough) next += y * side + x
            }
        }
        return cells.filter { parts[it] }
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

    private companion object {
        const val LIMIT = 10f
    }
}

internal fun sigmoid(x: Float): Float = (1 / (1 + exp(-x.toDouble()))).toFloat()
