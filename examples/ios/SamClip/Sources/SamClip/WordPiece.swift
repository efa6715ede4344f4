import Foundation

/// A BERT's tokenizer, uncased: accents are dropped, and words cut into the longest known pieces.
struct WordPiece: WordTokenizer {
    private let ids: [String: Int32]
    private let unknown: Int32
    private let prefix: String
    private let longestWord: Int

    init?(ids: [String: Int32], model: [String: Any]) {
        guard let name = model["unk_token"] as? String, let unknown = ids[name] else { return nil }
        self.ids = ids
        self.unknown = unknown
        prefix = model["continuing_subword_prefix"] as? String ?? "##"
        longestWord = model["max_input_chars_per_word"] as? Int ?? 100
    }

    func ids(of text: String) -> [Int32] { words(of: text).flatMap(pieces) }

    /// Words, and punctuation marks and Chinese characters each on its own.
    private func words(of text: String) -> [ArraySlice<Unicode.Scalar>] {
        var plain: [Unicode.Scalar] = []
        for scalar in text.unicodeScalars where !Self.isDropped(scalar) {
            if Self.isChinese(scalar) {
                plain += [" ", scalar, " "]
            } else {
                plain.append(scalar)
            }
        }
        let decomposed = String(plain[...]).decomposedStringWithCanonicalMapping
        var words: [ArraySlice<Unicode.Scalar>] = []
        var word: [Unicode.Scalar] = []
        for scalar in decomposed.unicodeScalars
        where scalar.properties.generalCategory != .nonspacingMark {
            let isMark = scalar.isPunctuation || Self.isASCIISymbol(scalar)
            if isMark || scalar.properties.isWhitespace {
                if !word.isEmpty { words.append(word[...]) }
                word = []
                if isMark { words.append([scalar]) }
            } else {
                word += scalar.properties.lowercaseMapping.unicodeScalars
            }
        }
        if !word.isEmpty { words.append(word[...]) }
        return words
    }

    private func pieces(of word: ArraySlice<Unicode.Scalar>) -> [Int32] {
        if word.count > longestWord { return [unknown] }
        var found: [Int32] = []
        var start = word.startIndex
        while start < word.endIndex {
            var stop = word.endIndex
            var id: Int32?
            while stop > start {
                let piece = String(word[start..<stop])
                id = ids[start == word.startIndex ? piece : prefix + piece]
                if id != nil { break }
                stop -= 1
            }
            guard let id else { return [unknown] }
            found.append(id)
            start = stop
        }
        return found
    }

    private static func isDropped(_ scalar: Unicode.Scalar) -> Bool {
        if ["\t", "\n", "\r"].contains(scalar) { return false }
        if scalar.value == 0xFFFD { return true }
        switch scalar.properties.generalCategory {
        case .control, .format, .privateUse: return true
        default: return false
        }
    }

    private static func isASCIISymbol(_ scalar: Unicode.Scalar) -> Bool {
        scalar.isASCII && scalar.value > 32 && !scalar.isLetter && !scalar.isNumber
            && scalar.value != 127
    }

    private static func isChinese(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F,
            0x2B740...0x2B81F, 0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            return true
        default: return false
        }
    }
}
