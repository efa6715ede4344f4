package samclip

import java.util.Locale

/** A word that pictures taught the model, and its cosine to a label. */
data class NearWord(val word: String, val cosine: Float)

/** From this cosine on, a label says as much to the model as the nearest word. */
private const val KNOWN_COSINE = 0.75f
private const val SHOWN_LETTERS = 60

/** The words that pictures taught a model, each with its embedding of unit length. */
internal class KnownWords(val words: List<String>, private val rows: List<FloatArray>) {
    /** The words that are nearest to an embedding, the nearest first. */
    fun nearest(embedding: FloatArray, count: Int = 3): List<NearWord> =
        words.zip(rows) { word, row -> NearWord(word, dot(row, embedding)) }
            .sortedByDescending { it.cosine }
            .take(count)

    /** What to say of a label that is no taught word, nor near one. */
    fun warning(label: String, embedding: FloatArray): String? {
        val nearest = nearest(embedding)
        if (nearest.first().cosine >= KNOWN_COSINE || cleanText(label) in words) return null
        val named = nearest.joinToString { "%s (%.2f)".format(Locale.ROOT, it.word, it.cosine) }
        return "the model was not taught '${label.take(SHOWN_LETTERS)}', and may take it for something else; " +
            "the nearest words that it knows: $named"
    }
}
