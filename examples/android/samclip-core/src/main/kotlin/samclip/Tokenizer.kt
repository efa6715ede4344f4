package samclip

import java.text.Normalizer
import java.util.regex.Pattern

/** A bundle's tokenizer, from the content of its `tokenizer.json`: BERT's WordPiece or CLIP's BPE. */
internal class Tokenizer(content: ByteArray) {
    private val contextLength: Int
    private val start: Int
    private val end: Int
    private val special: Map<String, Int>
    private val specialPattern: Regex
    private val pieces: (String) -> List<Int>

    init {
        val file = Json.parse(content.decodeToString(), "tokenizer.json")
        contextLength = file["truncation"]["max_length"].int
        special = file["added_tokens"].list.associate { it["content"].text to it["id"].int }
        specialPattern = Regex(special.keys.joinToString("|") { Regex.escape(it) })
        val template = file["post_processor"]["single"].list
        fun id(place: Json) = special.getValue(place["SpecialToken"]["id"].text)
        start = id(template.first())
        end = id(template.last())
        pieces = when (val kind = file["model"]["type"].text) {
            "WordPiece" -> WordPiece(file)::ids
            "BPE" -> BytePairs(file)::ids
            else -> throw BundleSchemaException("tokenizer.json holds a $kind; this reader knows WordPiece and BPE")
        }
    }

    /** The ids of a text, from the start token to the end token; what does not fit is cut before the end. */
    fun ids(text: String): IntArray {
        val cleaned = cleanText(text)
        val found = ArrayList<Int>()
        var at = 0
        if (special.isNotEmpty()) {
            for (match in specialPattern.findAll(cleaned)) {
                found += pieces(cleaned.substring(at, match.range.first))
                found += special.getValue(match.value)
                at = match.range.last + 1
            }
        }
        found += pieces(cleaned.substring(at))
        return intArrayOf(start) + found.take(contextLength - 2) + end
    }

    /** The ids of texts [texts,context], zeros behind each. */
    internal fun batch(texts: List<String>): Tensor.I32 {
        val ids = IntArray(texts.size * contextLength)
        texts.forEachIndexed { row, text -> ids(text).copyInto(ids, row * contextLength) }
        return Tensor.I32(ids, texts.size.toLong(), contextLength.toLong())
    }
}

private fun vocabulary(file: Json): Map<String, Int> = file["model"]["vocab"].fields.mapValues { it.value.int }

/** Words and punctuation marks, without accents; each word in the longest pieces that are known, from its start. */
private class WordPiece(file: Json) {
    private val known = vocabulary(file)
    private val unknown = known.getValue(file["model"]["unk_token"].text)
    private val prefix = file["model"]["continuing_subword_prefix"].text
    private val maxLetters = file["model"]["max_input_chars_per_word"].int

    fun ids(text: String): List<Int> = words(text).flatMap(::split)

    private fun words(text: String): List<String> {
        val spaced = StringBuilder()
        for (code in text.codePoints().toArray()) {
            when {
                code == 0xfffd || isControl(code) -> Unit
                isIdeograph(code) -> spaced.append(' ').appendCodePoint(code).append(' ')
                else -> spaced.appendCodePoint(code)
            }
        }
        val plain = StringBuilder()
        for (code in Normalizer.normalize(spaced, Normalizer.Form.NFD).codePoints().toArray()) {
            if (Character.getType(code) != Character.NON_SPACING_MARK.toInt()) plain.appendCodePoint(code)
        }
        val apart = StringBuilder()
        for (code in plain.toString().lowercase().codePoints().toArray()) {
            val space = if (isPunctuation(code)) " " else ""
            apart.append(space).appendCodePoint(code).append(space)
        }
        return apart.split(' ').filter { it.isNotEmpty() }
    }

    private fun split(word: String): List<Int> {
        if (word.codePointCount(0, word.length) > maxLetters) return listOf(unknown)
        val found = ArrayList<Int>()
        var from = 0
        while (from < word.length) {
            val lead = if (from == 0) "" else prefix
            val to = (word.length downTo from + 1).firstOrNull { lead + word.substring(from, it) in known }
                ?: return listOf(unknown)
            found += known.getValue(lead + word.substring(from, to))
            from = to
        }
        return found
    }

    private fun isControl(code: Int) = code !in SPACE_CONTROLS && Character.getType(code).toByte() in CONTROLS

    private fun isPunctuation(code: Int) =
        code in 33..47 || code in 58..64 || code in 91..96 || code in 123..126 ||
            Character.getType(code).toByte() in PUNCTUATION

    private fun isIdeograph(code: Int) = IDEOGRAPHS.any { code in it }

    private companion object {
        val SPACE_CONTROLS = setOf(9, 10, 13)
        val CONTROLS = setOf(Character.CONTROL, Character.FORMAT, Character.PRIVATE_USE, Character.SURROGATE)
        val PUNCTUATION = setOf(
            Character.CONNECTOR_PUNCTUATION, Character.DASH_PUNCTUATION, Character.START_PUNCTUATION,
            Character.END_PUNCTUATION, Character.INITIAL_QUOTE_PUNCTUATION, Character.FINAL_QUOTE_PUNCTUATION,
            Character.OTHER_PUNCTUATION,
        )
        val IDEOGRAPHS = listOf(
            0x4e00..0x9fff, 0x3400..0x4dbf, 0x20000..0x2a6df, 0x2a700..0x2b73f, 0x2b740..0x2b81f, 0x2b920..0x2ceaf,
            0xf900..0xfaff, 0x2f800..0x2fa1f,
        )
    }
}

/** Words by the file's own pattern, in UTF-8; in each, the pair of pieces that was learned first is joined first. */
private class BytePairs(file: Json) {
    private val known = vocabulary(file)
    private val ending = file["model"]["end_of_word_suffix"].text
    private val ranks = file["model"]["merges"].list.withIndex().associate { (rank, pair) ->
        pair.list.let { it[0].text to it[1].text } to rank
    }
    private val word = Pattern.compile(
        file["pre_tokenizer"]["pretokenizers"].list.first()["pattern"]["Regex"].text,
        Pattern.UNICODE_CASE,
    )

    fun ids(text: String): List<Int> {
        val matcher = word.matcher(text)
        val found = ArrayList<Int>()
        while (matcher.find()) found += pieces(matcher.group()).map(known::getValue)
        return found
    }

    private fun pieces(word: String): List<String> {
        val pieces = word.encodeToByteArray().mapTo(ArrayList()) { LETTERS[it.toInt() and 255].toString() }
        pieces[pieces.lastIndex] += ending
        while (pieces.size > 1) {
            val at = (0 until pieces.lastIndex).minBy { rank(pieces, it) }
            if (rank(pieces, at) == Int.MAX_VALUE) break
            pieces[at] += pieces.removeAt(at + 1)
        }
        return pieces
    }

    private fun rank(pieces: List<String>, at: Int) = ranks[pieces[at] to pieces[at + 1]] ?: Int.MAX_VALUE

    private companion object {
        /** The letter of each byte: itself where it can be seen, and from U+0100 on for the others. */
        val LETTERS: CharArray = run {
            var next = 256
            CharArray(256) { if (it in 33..126 || it in 161..172 || it in 174..255) it.toChar() else (next++).toChar() }
        }
    }
}
