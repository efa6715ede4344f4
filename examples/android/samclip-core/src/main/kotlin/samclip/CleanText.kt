package samclip

import java.nio.charset.Charset
import java.text.Normalizer

/**
 * Cleans a text as CLIP does: characters, HTML entities (twice), white space, lower case.
 *
 * Of ftfy's repairs, that of wrongly decoded text ("Ã©" for "é") is left out, and of HTML's 2,231 names of
 * characters, those of Latin-1 and of common punctuation are known.
 */
internal fun cleanText(text: String): String {
    val fixed = text.take(MAX_LETTERS).split('\n').joinToString("\n", transform = ::fixLine)
    return unescape(unescape(fixed)).split(SPACE).filter { it.isNotEmpty() }.joinToString(" ").lowercase()
}

private const val MAX_LETTERS = 4096
private val SPACE = Regex("[\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
private val WINDOWS: Charset = Charset.forName("windows-1252")
private val C1_CONTROL = Regex("[\u0080-\u009f]")
private val LIGATURE = Regex("[\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb04\ufb06]")
private val WIDE = Regex("[\uff01-\uffef\u3000]")
private val SINGLE_QUOTE = Regex("[\u02bc\u2018-\u201b]")
private val DOUBLE_QUOTE = Regex("[\u201c-\u201f]")
private val LINE_BREAK = Regex("\r\n|[\r\u2028\u2029\u0085]")
private val TERMINAL_ESCAPE = Regex("\u001b\\[[\\d;]*[a-zA-Z]")
private val CONTROL = Regex("[\u0000-\u0008\u000b\u000e-\u001f\u007f\u206a-\u206f\ufeff\ufff9-\ufffc]")

/** ftfy's steps, in its order, until nothing changes any more. */
private tailrec fun fixLine(line: String): String {
    val unescaped = if ('<' in line) line else unescape(line, closedOnly = true)
    val fixed = unescaped
        .replace(C1_CONTROL) { fromWindows(it.value[0].code) }
        .replace(LIGATURE) { compatible(it.value) }
        .replace("\ufb05", "\u017ft")
        .replace(WIDE) { compatible(it.value) }
        .replace(SINGLE_QUOTE, "'")
        .replace(DOUBLE_QUOTE, "\"")
        .replace(LINE_BREAK, "\n")
        .replace(TERMINAL_ESCAPE, "")
        .replace(CONTROL, "")
    val composed = Normalizer.normalize(fixed, Normalizer.Form.NFC)
    return if (composed == line) line else fixLine(composed)
}

private fun compatible(letter: String) = Normalizer.normalize(letter, Normalizer.Form.NFKC)

/** What Windows means by a byte from 0x80 to 0x9f; the five that it does not use stay as they are. */
private fun fromWindows(code: Int): String =
    String(byteArrayOf(code.toByte()), WINDOWS).takeIf { it != "\ufffd" } ?: code.toChar().toString()

private val ENTITY = Regex("&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\u000c <&#;]{1,32};?)")

/** Names that HTML knows without the semicolon too. */
private val OPEN_NAMES: Map<String, String> = (
    "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute " +
        "micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring " +
        "AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml " +
        "times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil " +
        "egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash " +
        "ugrave uacute ucirc uuml yacute thorn yuml"
    ).split(" ").withIndex().associate { (place, name) -> name to (0xa0 + place).toChar().toString() } +
    mapOf("amp" to "&", "lt" to "<", "gt" to ">", "quot" to "\"") +
    mapOf("AMP" to "&", "LT" to "<", "GT" to ">", "QUOT" to "\"")

private val CLOSED_NAMES: Map<String, String> = OPEN_NAMES.mapKeys { "${it.key};" } + mapOf(
    "apos;" to "'", "hellip;" to "\u2026", "ndash;" to "\u2013", "mdash;" to "\u2014", "lsquo;" to "\u2018",
    "rsquo;" to "\u2019", "ldquo;" to "\u201c", "rdquo;" to "\u201d", "bull;" to "\u2022", "trade;" to "\u2122",
    "euro;" to "\u20ac",
)

private fun unescape(text: String, closedOnly: Boolean = false): String = text.replace(ENTITY) { match ->
    val name = match.groupValues[1]
    when {
        closedOnly && !name.endsWith(";") -> match.value
        name.startsWith("#") -> numbered(name.trimEnd(';').drop(1))
        name in CLOSED_NAMES -> CLOSED_NAMES.getValue(name)
        closedOnly -> match.value
        else -> (name.length downTo 2).map(name::take).firstOrNull { it in OPEN_NAMES }
            ?.let { OPEN_NAMES.getValue(it) + name.drop(it.length) } ?: match.value
    }
}

private fun numbered(digits: String): String {
    val hexadecimal = digits[0] in "xX"
    val code = (if (hexadecimal) digits.drop(1).toIntOrNull(16) else digits.toIntOrNull()) ?: Int.MAX_VALUE
    return when {
        code == 0 || code in 0xd800..0xdfff || code > 0x10ffff -> "\ufffd"
        code in 0x80..0x9f -> fromWindows(code)
        code == 0x0b || code < 0x09 || code in 0x0e..0x1f || code == 0x7f -> ""
        code in 0xfdd0..0xfdef || code and 0xfffe == 0xfffe -> ""
        else -> String(Character.toChars(code))
    }
}
