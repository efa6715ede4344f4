package samclip

/** A word that images taught the model, and its cosine to a label. */
data class NearWord(val word: String, val cosine: Float)

/**
 * The words that images taught a model, each with its embedding of unit length.
 *
 * The thresholds, 0..1, are the presences from which words are in an image; null for the bundle's.
 */
internal class KnownWords(
    val words: List<String>,
    private val rows: List<FloatArray>,
    thresholds: List<Float?> = emptyList(),
) {
    /** Word -> its own threshold. */
    val ownThresholds: Map<String, Float> =
        words.zip(thresholds).mapNotNull { (word, own) -> own?.let { cleanText(word) to it } }.toMap()

    /** The words that are nearest to an embedding, the nearest first. */
    fun nearest(embedding: FloatArray, count: Int = 3): List<NearWord> =
        words.zip(rows) { word, row -> NearWord(word, dot(row, embedding)) }
            .sortedByDescending { it.cosine }
            .take(count)

    /** The reading of a label that is not known, by its own embedding. */
    fun unknown(embedding: FloatArray): Reading {
        val (word, cosine) = nearest(embedding, count = 1).single()
        return Reading(Reading.Kind.UNKNOWN, listOf(word), cosine)
    }
}
