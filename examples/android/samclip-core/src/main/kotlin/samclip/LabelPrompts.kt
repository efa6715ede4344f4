package samclip

/**
 * The mask decoder's prompts for labels, and the masks that come of them, without the graph text_to_mask@S.
 *
 * The steps are those of that graph, see `export/apps/text_to_mask.py`.
 */
internal class LabelPrompts(private val maps: List<ScoreMap>, private val manifest: Manifest) {
    private val side = manifest.maskSide

    /** The prompt encoder's inputs: the best cells, the box around the parts, and the scores as a mask. */
    val feed: Map<String, Tensor> = promptFeed(
        maps.map { it.tokens(POINTS, manifest.calibration) },
        maps.map { it.maskPrompt(side, manifest.calibration.promptScale) },
        side,
    )

    /** The labels' masks, of the mask decoder's outputs: a constant is added to its logits. */
    fun masks(decoded: Map<String, Tensor>): List<DrawnMask> {
        val first = DrawnMask.all(decoded).chunked(DrawnMask.EACH) { it.first() }
        return first.map { drawn ->
            val raised = FloatArray(side * side) { drawn.logits[it] + manifest.calibration.maskBias }
            DrawnMask(raised, drawn.predictedIou)
        }
    }

    /** The outputs of text_to_mask@S, of those of the mask decoder. */
    fun drawn(decoded: Map<String, Tensor>): Map<String, Tensor> {
        val count = maps.size.toLong()
        val size = manifest.segmentation
        val masks = masks(decoded)
        val logits = FloatArray(maps.size * size * size)
        masks.forEachIndexed { place, mask ->
            Resize(mask.logits, side, rows = side, columns = side).to(size, size) { y, row ->
                row.copyInto(logits, (place * size + y) * size)
            }
        }
        return mapOf(
            "mask_logits" to Tensor.F32(logits, count, size.toLong(), size.toLong()),
            "scores" to Tensor.F32(FloatArray(maps.size) { masks[it].predictedIou }, count),
            "presence" to Tensor.F32(FloatArray(maps.size) { maps[it].presence }, count),
        )
    }

    private companion object {
        const val POINTS = 3
    }
}
