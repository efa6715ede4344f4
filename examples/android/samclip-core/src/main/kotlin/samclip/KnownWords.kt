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

    /** What to say of a label that says more than a taught word, or is far from all of them. */
    fun warning(label: String, embedding: FloatArray): String? {
        val nearest = nearest(embedding)
        val cleaned = cleanText(label)
        if (cleaned in words) return null
        val untaught = "the model was not taught '${label.take(SHOWN_LETTERS)}', and"
        val (word, cosine) = nearest.first()
        if (cosine >= KNOWN_COSINE) {
            if (" $word " !in " $cleaned ") return null
            return "%s takes it for '%s' (%.2f): it knows nouns, and not what is said of them"
                .format(Locale.ROOT, untaught, word, cosine)
        }
        val named = nearest.joinToString { "%s (%.2f)".format(Locale.ROOT, it.word, it.cosine) }
        return "$untaught may take it for something else; the nearest words that it knows: $named"
    }
}
