import Foundation

/// A word that images taught the model, and its cosine to a label.
public struct NearWord: Sendable, Equatable {
    public let word: String
    public let cosine: Float
}

/// The words that images taught a model.
package struct KnownWords: Sendable {
    package let words: [String]
    private let rows: [[Float]]
    /// Clean word -> its own threshold.
    let thresholds: [String: Float]

    /// - Parameters:
    ///   - rows: the words' embeddings, of unit length.
    ///   - thresholds: for each word the presence from which it is in an image; nil for the
    ///     bundle's. None at all if no word has its own.
    package init(words: [String], rows: [[Float]], thresholds: [Float?] = []) {
        self.words = words
        self.rows = rows
        let own = zip(words, thresholds).compactMap { word, own in own.map { (cleaned(word), $0) } }
        self.thresholds = Dictionary(own) { $1 }
    }

    /// The words that are nearest to an embedding, the nearest first.
    package func nearest(to embedding: [Float], count: Int = 3) -> [NearWord] {
        let all = zip(words, rows).map { NearWord(word: $0, cosine: dot($1[...], embedding[...])) }
        return Array(all.sorted { $0.cosine > $1.cosine }.prefix(count))
    }

    /// The reading of a label that is not known, by its own embedding.
    package func unknown(_ embedding: [Float]) -> Reading {
        let near = nearest(to: embedding, count: 1)[0]
        return Reading(.unknown, [near.word], cosine: near.cosine)
    }
}
