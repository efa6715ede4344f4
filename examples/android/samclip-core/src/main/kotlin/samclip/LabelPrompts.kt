package samclip

/**
 * The mask decoder's prompts for labels, and the masks that come of them, in bundles without the graph text_to_mask@S.
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

    /** The outputs of text_to_mask@S, of those of the mask decoder: the scores are added to its logits. */
    fun drawn(decoded: Map<String, Tensor>): Map<String, Tensor> {
        val count = maps.size.toLong()
        val size = manifest.segmentation
        val lowResolution = decoded.floats("low_res_masks").data
        val predicted = decoded.floats("iou_predictions").data
        val logits = FloatArray(maps.size * size * size)
        maps.forEachIndexed { place, map ->
            val scores = map.maskPrompt(side, 1f)
            val joined = FloatArray(side * side) {
                lowResolution[TOKENS * place * side * side + it] +
                    manifest.calibration.mapWeight * scores[it] + manifest.calibration.maskBias
            }
            Resize(joined, side, rows = side, columns = side).to(size, size) { y, row ->
                row.copyInto(logits, (place * size + y) * size)
            }
        }
        return mapOf(
            "mask_logits" to Tensor.F32(logits, count, size.toLong(), size.toLong()),
            "scores" to Tensor.F32(FloatArray(maps.size) { predicted[TOKENS * it] }, count),
            "presence" to Tensor.F32(FloatArray(maps.size) { maps[it].presence }, count),
        )
    }

    private companion object {
        const val POINTS = 3
        const val TOKENS = 4 // masks of each prompt, the first of which is of an unambiguous one
    }
}
