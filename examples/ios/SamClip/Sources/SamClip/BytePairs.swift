/// CLIP's tokenizer: words, each byte a letter, joined pair by pair in the order of the merges.
struct BytePairs: WordTokenizer {
    private let ids: [String: Int32]
    private let rank: [String: Int]
    private let letters: [Unicode.Scalar]
    private let marks: [([Unicode.Scalar], Int32)]

    private static let suffixes = ["s", "t", "re", "ve", "m", "ll", "d"].map {
        Array($0.unicodeScalars)
    }

    /// - Parameter marks: special tokens, which may stand in a text.
    init(ids: [String: Int32], merges: [[String]], marks: [([Unicode.Scalar], Int32)]) {
        self.ids = ids
        self.marks = marks
        var rank = [String: Int](minimumCapacity: merges.count)
        for (place, pair) in merges.enumerated() { rank[pair.joined(separator: " ")] = place }
        self.rank = rank
        // Bytes that print stand for themselves, the others for the letters behind U+00FF.
        var next: UInt32 = 256
        letters = (0..<256).map { byte -> Unicode.Scalar in
            if (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174 {
                return Unicode.Scalar(UInt8(byte))
            }
            defer { next += 1 }
            return Unicode.Scalar(next)!
        }
    }

    /// By scalars: a string's own search never parts a character, such as `>` and an accent on it.
    func ids(of text: String) -> [Int32] {
        let scalars = Array(text.unicodeScalars)
        var found: [Int32] = []
        var from = 0
        var place = 0
        while place < scalars.count {
            let rest = scalars[place...]
            if let mark = marks.first(where: { rest.starts(with: $0.0) }) {
                found += ids(of: scalars[from..<place]) + [mark.1]
                place += mark.0.count
                from = place
            } else {
                place += 1
            }
        }
        return found + ids(of: scalars[from...])
    }

    private func ids(of part: ArraySlice<Unicode.Scalar>) -> [Int32] {
        var found: [Int32] = []
        var rest = part
        while !rest.isEmpty {
            let length = wordLength(rest)
            if length > 0 { found += joined(String(rest.prefix(length))) }
            rest = rest.dropFirst(max(length, 1))
        }
        return found
    }

    /// The length of the word that a text begins with; 0 where none does.
    private func wordLength(_ text: ArraySlice<Unicode.Scalar>) -> Int {
        guard let first = text.first else { return 0 }
        if first == "'" {
            for suffix in Self.suffixes where text.dropFirst().starts(with: suffix) {
                return 1 + suffix.count
            }
        }
        if first.isLetter { return text.prefix { $0.isLetter }.count }
        if first.isNumber { return 1 }
        return text.prefix { scalar in
            let isOther = !scalar.isLetter && !scalar.isNumber && scalar.value != 0x345
            return isOther && !scalar.properties.isWhitespace
        }.count
    }

    private func joined(_ word: String) -> [Int32] {
        var parts = word.utf8.map { String(Character(letters[Int($0)])) }
        parts[parts.count - 1] += "</w>"
        while parts.count > 1 {
            let ranks = (1..<parts.count).map { rank[parts[$0 - 1] + " " + parts[$0]] ?? Int.max }
            guard let best = ranks.min(), best < Int.max, let place = ranks.firstIndex(of: best)
            else { break }
            parts[place] += parts.remove(at: place + 1)
        }
        return parts.compactMap { ids[$0] }
    }
}
