package samclip.checks

import java.io.File
import samclip.BundleException
import samclip.Json
import samclip.Tokenizer
import samclip.cleanText

/** Texts of every kind of cleaning, and CLIP's ids of them, by the Python package. */
internal fun textChecks(clipTokenizer: File, checks: Checks) {
    val tokenizer = Tokenizer(clipTokenizer.readBytes())
    fun same(text: String, cleaned: String, vararg ids: Int) = checks.check("CLIP's ids of \"$cleaned\"") {
        check(cleanText(text) == cleaned) { "cleaned to \"${cleanText(text)}\"" }
        check(tokenizer.ids(text).contentEquals(ids)) { tokenizer.ids(text).joinToString() }
    }
    same("a photo of a dog.", "a photo of a dog.", 49406, 320, 1125, 539, 320, 1929, 269, 49407)
    same(
        "\ud83d\udc36 Stra\u00dfe caf\u00e9", "\ud83d\udc36 stra\u00dfe caf\u00e9",
        49406, 10631, 1894, 127, 253, 324, 15304, 49407,
    )
    same("don't we'll 2024 #1", "don't we'll 2024 #1", 49406, 847, 713, 649, 1342, 273, 271, 273, 275, 258, 272, 49407)
    same("<end_of_text> x", "<end_of_text> x", 49406, 49407, 343, 49407)
    same("\u65e5\u672c 12", "\u65e5\u672c 12", 49406, 39121, 19277, 361, 272, 273, 49407)
    same("", "", 49406, 49407)
    same(
        "&Eacute;clair &rsquo;n&#x27; &#150; &notit; &hellip;", "\u00e9clair 'n' \u2013 \u00acit; \u2026",
        49406, 3459, 14039, 262, 333, 262, 1224, 126, 361, 585, 282, 959, 49407,
    )
    same("\uff26\uff55\uff4c\uff4c\u3000wide \ufb01sh", "full wide fish", 49406, 1476, 3184, 2759, 49407)
    same(
        "\u201cquoted\u201d it\u2019s\r\nhere\u001b[31m red", "\"quoted\" it's here red",
        49406, 257, 27706, 257, 585, 568, 763, 736, 49407,
    )
    same("a\u0096b", "a\u2013b", 49406, 320, 1224, 321, 49407)
}

/** The reader of JSON, on what the manifest does not have. */
internal fun jsonChecks(checks: Checks) {
    checks.check("JSON of every kind") {
        val read = Json.parse(" {\"a\\u00e9\\n\": [1, -2.5e3, true, null, \"\\\"/\"], \"b\": {}, \"c\": []}\n", "test")
        val items = read["a\u00e9\n"].list
        check(items.size == 5 && items[0].int == 1 && items[1].number == -2500.0 && items[2].flag && items[3].isNull)
        check(items[4].text == "\"/" && read["b"].fields.isEmpty() && read["c"].list.isEmpty())
    }
    val wrongs = listOf("", "{", "[1,", "[1 2]", "{\"a\" 1}", "\"\\u12", "\"\\x\"", "nul", "[1] 2", "1.2.3", "[".repeat(99))
    for (wrong in wrongs) {
        checks.refuses<BundleException>("JSON ${wrong.take(9)}", "test is not JSON") { Json.parse(wrong, "test") }
    }
    checks.refuses<BundleException>("a text where a number is due", "test.a[0] is not a number") {
        Json.parse("{\"a\": [\"1\"]}", "test")["a"].list[0].int
    }
}
