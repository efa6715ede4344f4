import Foundation

/// A bundle's `tokenizer.json`: a BERT's WordPiece, or CLIP's byte-level BPE.
public struct Tokenizer: Sendable {
    /// How many ids a text has, with the zeros behind it.
    public let contextLength: Int
    private let start: Int32
    private let end: Int32
    private let words: any WordTokenizer

    /// - Throws: `SamClipError.bundle` if it is of another kind, or damaged.
    public init(json: Data) throws {
        let root = try? JSONSerialization.jsonObject(with: json) as? [String: Any]
        guard let root, let model = root["model"] as? [String: Any],
            let vocabulary = model["vocab"] as? [String: Int],
            let length = (root["truncation"] as? [String: Any])?["max_length"] as? Int,
            length > 2
        else { throw SamClipError.bundle("tokenizer.json has no vocabulary or no context length") }
        let ids = vocabulary.mapValues { Int32($0) }
        let names: (start: String, end: String)
        switch model["type"] as? String {
        case "WordPiece":
            guard let pieces = WordPiece(ids: ids, model: model) else {
                throw SamClipError.bundle("tokenizer.json's WordPiece has no unknown token")
            }
            words = pieces
            names = ("[CLS]", "[SEP]")
        case "BPE":
            guard let merges = model["merges"] as? [[String]] else {
                throw SamClipError.bundle("tokenizer.json's BPE has no list of merges")
            }
            names = ("<start_of_text>", "<end_of_text>")
            let marks = [names.start, names.end].compactMap { name in
                ids[name].map { (Array(name.unicodeScalars), $0) }
            }
            words = BytePairs(ids: ids, merges: merges, marks: marks)
        case let type:
            throw SamClipError.bundle(
                "tokenizer.json is \(type ?? "of no type"); WordPiece and BPE are known")
        }
        guard let start = ids[names.start], let end = ids[names.end] else {
            throw SamClipError.bundle("tokenizer.json lacks \(names.start) or \(names.end)")
        }
        self.start = start
        self.end = end
        contextLength = length
    }

    /// The ids of a text, which is cleaned first, without the zeros behind it.
    ///
    /// What does not fit into the context is cut off; the end token stays.
    public func encode(_ text: String) -> [Int32] {
        let ids = words.ids(of: cleaned(text)).prefix(contextLength - 2)
        return [start] + ids + [end]
    }

    /// int32 [K,L], zeros behind each text.
    package func batch(_ texts: [String]) -> Tensor {
        let rows = texts.flatMap { text -> [Int32] in
            let ids = encode(text)
            return ids + [Int32](repeating: 0, count: contextLength - ids.count)
        }
        return Tensor(rows, shape: [texts.count, contextLength])
    }
}

/// Finds the tokens of a text, without those of its start and end.
protocol WordTokenizer: Sendable {
    func ids(of text: String) -> [Int32]
}

extension String {
    init(_ scalars: ArraySlice<Unicode.Scalar>) {
        self.init(String.UnicodeScalarView(scalars))
    }
}

extension Unicode.Scalar {
    var isLetter: Bool {
        switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return true
        default: return false
        }
    }

    var isNumber: Bool {
        switch properties.generalCategory {
        case .decimalNumber, .letterNumber, .otherNumber: return true
        default: return false
        }
    }

    var isPunctuation: Bool {
        switch properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
            .initialPunctuation, .finalPunctuation, .otherPunctuation:
            return true
        default: return false
        }
    }
}
