import Foundation

/// A word that pictures taught the model, and its cosine to a label.
public struct NearWord: Sendable, Equatable {
    public let word: String
    public let cosine: Float
}

/// The words that pictures taught a model.
package struct KnownWords: Sendable {
    package let words: [String]
    private let rows: [[Float]]

    /// From this cosine on, a label says as much to the model as the nearest word.
    private static let knownCosine: Float = 0.75
    /// From this share of common letters on, a label is spelled like a word.
    private static let spelledAlike = 0.8
    private static let shownLetters = 60

    /// - Parameter rows: the words' embeddings, of unit length.
    package init(words: [String], rows: [[Float]]) {
        self.words = words
        self.rows = rows
    }

    /// The words that are nearest to an embedding, the nearest first.
    package func nearest(to embedding: [Float], count: Int = 3) -> [NearWord] {
        let all = zip(words, rows).map { NearWord(word: $0, cosine: dot($1[...], embedding[...])) }
        return Array(all.sorted { $0.cosine > $1.cosine }.prefix(count))
    }

    /// What to say of a label that says more or less than its taught word, or is far from all.
    package func warning(of label: String, embedding: [Float]) -> String? {
        let nearest = nearest(to: embedding)
        let text = cleaned(label)
        if words.contains(text) { return nil }
        let named = nearest.map { "\($0.word) (\(String(format: "%.2f", $0.cosine)))" }
        let untaught = "the model was not taught '\(label.prefix(Self.shownLetters))', and "
        if nearest[0].cosine >= Self.knownCosine {
            let word = nearest[0].word
            let cosine = String(format: "%.2f", nearest[0].cosine)
            let taken = untaught + "takes it for '\(word)' (\(cosine))"
            if " \(text) ".contains(" \(word) ") {
                return taken + ": it knows nouns, and not what is said of them"
            }
            if " \(word) ".contains(" \(text) ") {
                return taken + ", which may be less than you mean"
            }
            return nil
        }
        return untaught + "may take it for "
            + "something else; the nearest words that it knows: \(named.joined(separator: ", "))"
            + (spelled(like: text).map { "; did you mean '\($0)'?" } ?? "")
    }

    /// The word that is spelled most like a label, if one is; of equals the last in the alphabet.
    private func spelled(like label: String) -> String? {
        let letters = Array(label.unicodeScalars)
        var (best, found): (Double, String?) = (Self.spelledAlike, nil)
        for word in words {
            let own = Array(word.unicodeScalars)
            let total = Double(own.count + letters.count)
            guard Double(2 * min(own.count, letters.count)) / total >= best else { continue }
            let alike = Double(2 * shared(own[...], letters[...])) / total
            if alike > best || (alike == best && word > found ?? "") { (best, found) = (alike, word) }
        }
        return found
    }
}

/// How many letters two texts share: those of the longest run, and of what is left and right of it.
private func shared(
    _ first: ArraySlice<Unicode.Scalar>, _ second: ArraySlice<Unicode.Scalar>
) -> Int {
    var (length, left, right) = (0, first.startIndex, second.startIndex)
    for i in first.indices {
        for j in second.indices {
            let run = zip(first[i...], second[j...]).prefix { $0 == $1 }.count
            if run > length { (length, left, right) = (run, i, j) }
        }
    }
    guard length > 0 else { return 0 }
    return shared(first[..<left], second[..<right]) + length
        + shared(first[(left + length)...], second[(right + length)...])
}
