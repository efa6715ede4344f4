package samclip

import java.util.Locale

/** A word that pictures taught the model, and its cosine to a label. */
data class NearWord(val word: String, val cosine: Float)

/** From this cosine on, a label says as much to the model as the nearest word. */
private const val KNOWN_COSINE = 0.75f

/** From this share of common letters on, a label is spelled like a word. */
private const val SPELLED_ALIKE = 0.8
private const val SHOWN_LETTERS = 60

/** The words that pictures taught a model, each with its embedding of unit length. */
internal class KnownWords(val words: List<String>, private val rows: List<FloatArray>) {
    /** The words that are nearest to an embedding, the nearest first. */
    fun nearest(embedding: FloatArray, count: Int = 3): List<NearWord> =
        words.zip(rows) { word, row -> NearWord(word, dot(row, embedding)) }
            .sortedByDescending { it.cosine }
            .take(count)

    /** What to say of a label that says more or less than its taught word, or is far from all of them. */
    fun warning(label: String, embedding: FloatArray): String? {
        val nearest = nearest(embedding)
        val cleaned = cleanText(label)
        if (cleaned in words) return null
        val untaught = "the model was not taught '${label.take(SHOWN_LETTERS)}', and"
        val (word, cosine) = nearest.first()
        if (cosine >= KNOWN_COSINE) {
            val taken = "%s takes it for '%s' (%.2f)".format(Locale.ROOT, untaught, word, cosine)
            return when {
                " $word " in " $cleaned " -> "$taken: it knows nouns, and not what is said of them"
                " $cleaned " in " $word " -> "$taken, which may be less than you mean"
                else -> null
            }
        }
        val named = nearest.joinToString { "%s (%.2f)".format(Locale.ROOT, it.word, it.cosine) }
        val spelled = spelledLike(cleaned)?.let { "; did you mean '$it'?" }.orEmpty()
        return "$untaught may take it for something else; the nearest words that it knows: $named$spelled"
    }

    /** The word that is spelled most like a label, if one is; of equals the last in the alphabet. */
    private fun spelledLike(label: String): String? {
        val letters = label.codePoints().toArray().asList()
        var best = SPELLED_ALIKE
        var found: String? = null
        for (word in words) {
            val own = word.codePoints().toArray().asList()
            val total = (own.size + letters.size).toDouble()
            if (2 * minOf(own.size, letters.size) / total < best) continue
            val alike = 2 * shared(own, letters) / total
            if (alike > best || (alike == best && word > found.orEmpty())) {
                best = alike
                found = word
            }
        }
        return found
    }
}

/** How many letters two texts share: those of the longest run, and of what is left and right of it. */
private fun shared(first: List<Int>, second: List<Int>): Int {
    var length = 0
    var left = 0
    var right = 0
    for (i in first.indices) {
        for (j in second.indices) {
            val most = minOf(first.size - i, second.size - j)
            val run = (0 until most).takeWhile { first[i + it] == second[j + it] }.size
            if (run > length) {
                length = run
                left = i
                right = j
            }
        }
    }
    if (length == 0) return 0
    return shared(first.subList(0, left), second.subList(0, right)) + length +
        shared(first.subList(left + length, first.size), second.subList(right + length, second.size))
}
