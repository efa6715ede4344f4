package samclip

/** From this share on, a mask that likelier ones cover is dropped. */
private const val CONTAINED_SHARE = 0.8

/** Above this IoU, two masks are one object. */
private const val SAME_IOU = 0.5

/**
 * Lets the masks of one image compete, the likeliest first: no pixel stays in two of them.
 *
 * Masks that share one of the [labels] do not compete; by default, each has its own. Among equals, the first one is
 * likelier. The answer is what is left of each mask; null if a likelier one is the same, or if likelier ones cover
 * nearly all of it.
 */
internal fun settled(
    masks: List<Mask>,
    likelihoods: List<Float>,
    labels: List<Any> = masks.indices.toList(),
): List<Mask?> {
    val result = arrayOfNulls<Mask>(masks.size)
    for (place in masks.indices.sortedByDescending { likelihoods[it] }) {
        val mask = masks[place]
        val rivals = masks.indices.filter { result[it] != null && labels[it] != labels[place] }
        val left = rivals.fold(mask) { rest, rival -> rest.without(result[rival]!!) }
        val covered = mask.area - left.area >= CONTAINED_SHARE * maxOf(mask.area, 1)
        if (!covered && rivals.none { isSame(masks[it], mask) }) result[place] = left
    }
    return result.asList()
}

private fun isSame(first: Mask, second: Mask): Boolean {
    val shared = first.area - first.without(second).area
    return shared > SAME_IOU * (first.area + second.area - shared)
}
