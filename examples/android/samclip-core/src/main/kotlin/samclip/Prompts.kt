package samclip

import kotlin.math.ceil
import kotlin.math.floor

/** A pixel of the upright image, (x, y) from its top left. */
class Point(val x: Float, val y: Float, val foreground: Boolean = true)

/** A box in pixels of the upright image. */
class Box(val left: Float, val top: Float, val right: Float, val bottom: Float) {
    override fun toString() = "[$left, $top, $right, $bottom]"
}

/**
 * What to segment: points, a box, a mask prompt, or several of them together.
 *
 * [mask] holds logits in the model's frame, such as the `lowResolution` of an earlier answer.
 */
class Prompt(val points: List<Point> = emptyList(), val box: Box? = null, val mask: FloatArray? = null) {
    /** Whether it is a single point, which may mean a thing or a part of it. */
    internal val ambiguous get() = points.size == 1 && box == null && mask == null

    /** Whether it is several points, or points and a box, without a mask. */
    internal val combined get() = points.size >= (if (box == null) 2 else 1) && mask == null
}

/** What the prompt encoder takes of a prompt, in model pixels. */
internal class Token(val label: Int, val x: Float = 0f, val y: Float = 0f) {
    companion object {
        const val BACKGROUND = 0
        const val FOREGROUND = 1
        const val TOP_LEFT = 2
        const val BOTTOM_RIGHT = 3

        /** SAM's padding. */
        const val PADDING = -1

        /** What evens prompts out, and takes no part. */
        const val FILLER = -2
    }
}

/** The prompt encoder's inputs for prompts of any number of tokens, each with a mask prompt or without. */
internal fun promptFeed(tokens: List<List<Token>>, masks: List<FloatArray?>, maskSide: Int): Map<String, Tensor> {
    val longest = tokens.maxOf { it.size }
    val even = tokens.flatMap { own -> List(longest) { own.getOrElse(it) { Token(Token.FILLER) } } }
    val count = tokens.size.toLong()
    val side = maskSide.toLong()
    val all = FloatArray(masks.size * maskSide * maskSide)
    masks.forEachIndexed { place, each -> each?.copyInto(all, place * maskSide * maskSide) }
    return mapOf(
        "point_coords" to Tensor.F32(
            FloatArray(2 * even.size) { if (it % 2 == 0) even[it / 2].x else even[it / 2].y },
            count, longest.toLong(), 2,
        ),
        "point_labels" to Tensor.I32(IntArray(even.size) { even[it].label }, count, longest.toLong()),
        "mask_input" to Tensor.F32(all, count, 1, side, side),
        "has_mask_input" to Tensor.F32(FloatArray(masks.size) { if (masks[it] == null) 0f else 1f }, count),
    )
}

/** The prompt encoder's inputs for what an app asks. */
internal class PromptTokens(prompts: List<Prompt>, frame: Frame, private val maskSide: Int) {
    private val tokens = prompts.map { tokens(it, frame, maskSide) }
    val feed = promptFeed(tokens, prompts.map { it.mask }, maskSide)

    /**
     * Lowers the logits of each prompt's masks outside its box, if it has one.
     *
     * The box is grown by a share of its sides, [margin]; a value that it touches is inside.
     */
    fun keepInBoxes(lowResolution: FloatArray, margin: Float) {
        val each = lowResolution.size / tokens.size
        tokens.forEachIndexed { place, own ->
            val first = own.find { it.label == Token.TOP_LEFT } ?: return@forEachIndexed
            val second = own.first { it.label == Token.BOTTOM_RIGHT }
            val columns = touched(first.x, second.x, margin)
            val rows = touched(first.y, second.y, margin)
            for (at in place * each until (place + 1) * each) {
                if (at % maskSide !in columns || at / maskSide % maskSide !in rows) {
                    lowResolution[at] = minOf(lowResolution[at], OUTSIDE)
                }
            }
        }
    }

    private fun touched(first: Float, second: Float, margin: Float): IntRange {
        val grown = margin * (second - first)
        return floor((first - grown) / VALUE_PX).toInt() until ceil((second + grown) / VALUE_PX).toInt()
    }

    private fun tokens(prompt: Prompt, frame: Frame, maskSide: Int): List<Token> {
        if (prompt.points.isEmpty() && prompt.box == null && prompt.mask == null) {
            throw PromptException("a prompt has nothing to segment: give it points, a box or a mask")
        }
        if (prompt.mask != null && prompt.mask.size != maskSide * maskSide) {
            throw PromptException(
                "a mask prompt has ${prompt.mask.size} logits; this model takes $maskSide x $maskSide, " +
                    "such as the lowResolution of an earlier answer",
            )
        }
        val points = prompt.points.map { point ->
            if (!(point.x >= 0 && point.y >= 0 && point.x < frame.width && point.y < frame.height)) {
                throw PromptException(
                    "point (${point.x}, ${point.y}) is outside the image of ${frame.width} x ${frame.height} pixels",
                )
            }
            val label = if (point.foreground) Token.FOREGROUND else Token.BACKGROUND
            Token(label, frame.toModelX(point.x), frame.toModelY(point.y))
        }
        val box = prompt.box
        return when {
            box != null -> points + corners(box, frame)
            // SAM adds exactly one padding token to points without a box, and none otherwise.
            points.isNotEmpty() -> points + Token(Token.PADDING)
            else -> listOf(Token(Token.FILLER))
        }
    }

    private fun corners(box: Box, frame: Frame): List<Token> {
        if (!(box.left < box.right && box.top < box.bottom)) {
            throw PromptException("box $box is empty or reversed; a box is left < right, top < bottom")
        }
        val width = frame.width.toFloat()
        val height = frame.height.toFloat()
        val left = box.left.coerceIn(0f, width)
        val top = box.top.coerceIn(0f, height)
        val right = box.right.coerceIn(0f, width)
        val bottom = box.bottom.coerceIn(0f, height)
        if (left >= right || top >= bottom) {
            throw PromptException("box $box is outside the image of ${frame.width} x ${frame.height} pixels")
        }
        return listOf(
            Token(Token.TOP_LEFT, frame.toModelX(left), frame.toModelY(top)),
            Token(Token.BOTTOM_RIGHT, frame.toModelX(right), frame.toModelY(bottom)),
        )
    }

    private companion object {
        /** What the logits of a box's mask are at most, where they are outside the box. */
        const val OUTSIDE = -10f

        /** The side of a value of the decoder's masks, in the model's pixels. */
        const val VALUE_PX = 4
    }
}
