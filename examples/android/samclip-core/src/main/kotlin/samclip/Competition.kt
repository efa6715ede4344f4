package samclip

/** From this share on, a mask that likelier ones cover is dropped. */
private const val CONTAINED_SHARE = 0.8

/** Above this IoU, two masks are one object. */
private const val SAME_IOU = 0.5

/**
 * Lets the masks of one picture compete, the likeliest first: no pixel stays in two of them.
 *
 * Among equals, the first one is likelier. The answer is what is left of each mask; null if a likelier one is the
 * same, or if likelier ones cover nearly all of it.
 */
internal fun settled(masks: List<Mask>, likelihoods: List<Float>): List<Mask?> {
    val result = arrayOfNulls<Mask>(masks.size)
    val kept = ArrayList<Mask>()
    for (place in masks.indices.sortedByDescending { likelihoods[it] }) {
        val mask = masks[place]
        val left = result.filterNotNull().fold(mask) { rest, owner -> rest.without(owner) }
        val covered = mask.area - left.area >= CONTAINED_SHARE * maxOf(mask.area, 1)
        if (covered || kept.any { isSame(it, mask) }) continue
        kept += mask
        result[place] = left
    }
    return result.asList()
}

private fun isSame(first: Mask, second: Mask): Boolean {
    val shared = first.area - first.without(second).area
    return shared > SAME_IOU * (first.area + second.area - shared)
}
