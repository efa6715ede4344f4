import Foundation

/// Cleans a text as CLIP's tokenizer does before it looks for tokens: typographic characters become
/// plain ones, HTML entities are unescaped twice, white space is collapsed, letters are lower case.
///
/// Unlike the Python SDK it does not guess which text was decoded wrongly ("Ã©" stays), and of HTML's
/// named entities it knows those of Latin-1 and of punctuation.
public func cleaned(_ text: String) -> String {
    let unescaped = HTML.unescaped(HTML.unescaped(plain(text)))
    let words = unescaped.unicodeScalars.split(whereSeparator: isSpace)
    return words.map { lowercased(Array($0)) }.joined(separator: " ")
}

/// In lower case, as Python's `str.lower`: a sigma that ends a word has a form of its own.
private func lowercased(_ word: [Unicode.Scalar]) -> String {
    var result = String.UnicodeScalarView()
    for (place, scalar) in word.enumerated() {
        let isAfterLetter = place > 0 && word[place - 1].properties.isCased
        let isLast = place + 1 == word.count || !word[place + 1].properties.isCased
        if scalar == "Σ" && isAfterLetter && isLast {
            result.append("ς")
        } else {
            result.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
        }
    }
    return String(result)
}

/// White space as Python's `str.split` sees it.
private func isSpace(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
}

/// The fixes of `ftfy` that need no guess, until nothing changes.
private func plain(_ text: String) -> String {
    var text = text
    while true {
        var next = text
        if !text.unicodeScalars.contains("<") {
            next = HTML.unescaped(next, strictly: true)
        }
        var scalars = String.UnicodeScalarView()
        for scalar in next.unicodeScalars { scalars.append(contentsOf: plain(scalar)) }
        next = String(scalars).precomposedStringWithCanonicalMapping
        // By scalars: strings are equal where their characters are equivalent.
        if next.unicodeScalars.elementsEqual(text.unicodeScalars) { return next }
        text = next
    }
}

private func plain(_ scalar: Unicode.Scalar) -> String.UnicodeScalarView {
    switch scalar.value {
    case 0x02BC, 0x2018...0x201B: return "'".unicodeScalars
    case 0x201C...0x201F: return "\"".unicodeScalars
    case 0x0D, 0x2028, 0x2029: return "\n".unicodeScalars
    case 0x3000: return " ".unicodeScalars
    case 0...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC:
        return String.UnicodeScalarView()
    case 0x80...0x9F: return String.UnicodeScalarView([windows[Int(scalar.value) - 0x80]])
    case 0xFB05: return "ſt".unicodeScalars
    case 0x0132, 0x0133, 0x0149, 0x01C4...0x01CC, 0x01F1...0x01F3, 0xFB00...0xFB06,
        0xFF01...0xFFEF:
        // Ligatures, and letters of another width: their compatible form.
        return String(scalar).precomposedStringWithCompatibilityMapping.unicodeScalars
    default: return String.UnicodeScalarView([scalar])
    }
}

/// What the control characters from 0x80 to 0x9F were meant for: browsers take them for bytes of
/// Windows.
private let windows = Array(
    "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8D}Ž\u{8F}\u{90}‘’“”•–—˜™š›œ\u{9D}žŸ".unicodeScalars)

/// HTML's character references.
private enum HTML {
    /// The names of U+00A0 to U+00FF in their order.
    private static let latin = """
        nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn \
        sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave \
        Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc \
        Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml \
        Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc \
        euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
        ugrave uacute ucirc uuml yacute thorn yuml
        """

    /// Names that may stand without a semicolon.
    private static let short: [String: Unicode.Scalar] = {
        var names: [String: Unicode.Scalar] = [
            "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "AMP": "&", "LT": "<", "GT": ">",
            "QUOT": "\"", "COPY": "\u{A9}", "REG": "\u{AE}",
        ]
        for (place, name) in latin.split(separator: " ").enumerated() {
            names[String(name)] = Unicode.Scalar(UInt8(0xA0 + place))
        }
        return names
    }()

    private static let long: [String: Unicode.Scalar] = [
        "apos": "'", "hellip": "\u{2026}", "ndash": "\u{2013}", "mdash": "\u{2014}",
        "lsquo": "\u{2018}", "rsquo": "\u{2019}", "ldquo": "\u{201C}", "rdquo": "\u{201D}",
        "bull": "\u{2022}", "trade": "\u{2122}", "euro": "\u{20AC}",
    ]

    /// Strictly: only what ends in a semicolon.
    static func unescaped(_ text: String, strictly: Bool = false) -> String {
        let scalars = Array(text.unicodeScalars)
        guard scalars.contains("&") else { return text }
        var result = String.UnicodeScalarView()
        var place = 0
        while place < scalars.count {
            if scalars[place] == "&", let found = reference(scalars[(place + 1)...], strictly) {
                if let scalar = found.scalar { result.append(scalar) }
                place += 1 + found.length
            } else {
                result.append(scalars[place])
                place += 1
            }
        }
        return String(result)
    }

    /// What a reference stands for, and how long it is behind the ampersand.
    private static func reference(
        _ rest: ArraySlice<Unicode.Scalar>, _ strictly: Bool
    ) -> (scalar: Unicode.Scalar?, length: Int)? {
        if rest.first == "#" { return number(rest.dropFirst(), strictly) }
        let name = rest.prefix(32).prefix { $0.isASCII && $0.properties.isAlphabetic || isDigit($0) }
        let text = String(String.UnicodeScalarView(name))
        if rest.dropFirst(name.count).first == ";", let scalar = short[text] ?? long[text] {
            return (scalar, name.count + 1)
        }
        if strictly { return nil }
        for length in stride(from: name.count, through: 2, by: -1) {
            if let scalar = short[String(text.prefix(length))] { return (scalar, length) }
        }
        return nil
    }

    private static func number(
        _ rest: ArraySlice<Unicode.Scalar>, _ strictly: Bool
    ) -> (scalar: Unicode.Scalar?, length: Int)? {
        let isHex = rest.first == "x" || rest.first == "X"
        let digits = rest.dropFirst(isHex ? 1 : 0).prefix {
            isHex ? $0.properties.isASCIIHexDigit : isDigit($0)
        }
        let ends = rest.dropFirst(digits.count + (isHex ? 1 : 0)).first == ";"
        guard !digits.isEmpty, ends || !strictly else { return nil }
        let length = 1 + (isHex ? 1 : 0) + digits.count + (ends ? 1 : 0)
        let text = String(String.UnicodeScalarView(digits))
        guard let value = UInt32(text, radix: isHex ? 16 : 10) else { return ("\u{FFFD}", length) }
        switch value {
        case 0x80...0x9F: return (windows[Int(value) - 0x80], length)
        case 1...8, 0x0E...0x1F, 0x7F, 0xFDD0...0xFDEF, 0x0B: return (nil, length)
        case 0: return ("\u{FFFD}", length)
        default:
            let isNone = value & 0xFFFE == 0xFFFE && value <= 0x10FFFF
            return (isNone ? nil : Unicode.Scalar(value) ?? "\u{FFFD}", length)
        }
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool {
        ("0"..."9").contains(scalar)
    }
}
