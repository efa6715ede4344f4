import Foundation

/// What a model takes a label for.
public struct Reading: Sendable, Equatable {
    public enum Kind: String, Sendable, Decodable {
        case taught
        /// A synonym, plural or spelling of a taught word.
        case same
        /// Its kind, its head noun or its general word answers for it.
        case readAs = "read_as"
        case unknown
    }

    public let kind: Kind
    /// The taught words that answer for it, any of them; of an unknown label the nearest.
    public let words: [String]
    /// Of an unknown label and the nearest word; nil for all others.
    public let cosine: Float?

    package init(_ kind: Kind, _ words: [String], cosine: Float? = nil) {
        self.kind = kind
        self.words = words
        self.cosine = cosine
    }

    /// Itself, if an answer must say it: the label is read as another word, or is not known.
    var told: Reading? { kind == .readAs || kind == .unknown ? self : nil }
}

/// A bundle's `words.json`: what texts mean among the taught words. See
/// `samclip_sdk/text/word_table.py`.
package struct WordTable: Decodable, Sendable {
    let schemaVersion: Int?
    let same: [String: [String]]
    let readAs: [String: [String]]
    let anyOf: [String: [String]]
    let unknown: [String]
    let joints: Set<String>
    let measures: Set<String>
    let articles: Set<String>

    private enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case same, unknown, joints, measures, articles
        case readAs = "read_as"
        case anyOf = "any_of"
    }

    static let schemaVersion = 1
    static let maxBytes = 4 << 20

    /// - Throws: `SamClipError.bundle` if it is no such table; `.schema` if it is of another
    ///   version.
    package init(_ content: Data, named name: String) throws {
        guard content.count <= Self.maxBytes else {
            throw SamClipError.bundle("\(name) has more than \(Self.maxBytes) bytes")
        }
        struct Version: Decodable { let schema_version: Int }
        let found = try? JSONDecoder().decode(Version.self, from: content).schema_version
        guard found ?? Self.schemaVersion == Self.schemaVersion else {
            throw SamClipError.schema(
                "\(name) has schema_version \(found!), this package reads \(Self.schemaVersion); "
                    + "update the package")
        }
        do {
            self = try JSONDecoder().decode(Self.self, from: content)
        } catch {
            throw SamClipError.bundle("\(name) is no table of words: \(error)")
        }
    }
}

/// Reads texts by a table.
package struct WordReader: Sendable {
    private let table: WordTable
    private let words: Set<String>
    /// The spelling of each text in the table -> its reading. No words: not known.
    private var index: [String: Reading] = [:]

    /// - Parameter words: the taught words; targets that are not among them are left out.
    package init(_ table: WordTable, words: [String]) {
        self.table = table
        self.words = Set(words)
        // Of two readings of one text the first counts.
        for word in words { enter(word, Reading(.same, [word])) }
        for text in table.unknown { enter(text, Reading(.unknown, [])) }
        for (text, kinds) in inOrder(table.anyOf) {
            enter(text, Reading(.readAs, kinds.filter(self.words.contains)))
        }
        for (kind, part) in [(Reading.Kind.same, table.same), (.readAs, table.readAs)] {
            for (word, texts) in inOrder(part) where self.words.contains(word) {
                for text in texts { enter(text, Reading(kind, [word])) }
            }
        }
    }

    /// Reads a clean text; nil if it is not known.
    package func read(_ text: String) -> Reading? {
        var parts = text.components(separatedBy: " ")
        var found = find(text)
        if found == nil, parts.count > 1, table.articles.contains(parts[0]) {
            parts.removeFirst()
            found = find(parts.joined(separator: " "))
            if let word = found, word.kind == .taught { found = Reading(.same, word.words) }
        }
        guard let found else { return readHead(parts) }
        return found.words.isEmpty ? nil : found
    }

    /// Reads the longest end of what a text's parts name: its head noun is its last word.
    private func readHead(_ parts: [String]) -> Reading? {
        let head = head(parts[...])
        for start in head.indices {
            if let found = find(head[start...].joined(separator: " ")) {
                return found.words.isEmpty ? nil : Reading(.readAs, found.words)
            }
        }
        return nil
    }

    /// The parts before the first joint; after "of", if a measure stands before it.
    private func head(_ parts: ArraySlice<String>) -> ArraySlice<String> {
        let joints = parts.indices.dropFirst().filter { table.joints.contains(parts[$0]) }
        guard let joint = joints.first else { return parts }
        let (before, after) = (parts[..<joint], parts[(joint + 1)...])
        let lasts = [before.last!] + singulars(before.last!)
        let measured = lasts.contains(where: table.measures.contains)
        guard parts[joint] == "of", let first = after.first, measured else { return before }
        return head(table.articles.contains(first) ? after.dropFirst() : after)
    }

    /// Looks a text up: as it is, in another spelling, in the singular.
    private func find(_ text: String) -> Reading? {
        if words.contains(text) { return Reading(.taught, [text]) }
        return ([text] + singulars(text)).lazy.compactMap { index[key($0)] }.first
    }

    private mutating func enter(_ text: String, _ reading: Reading) {
        let key = key(text)
        if index[key] == nil { index[key] = reading }
    }
}

/// The entries of a part of the table in the order of their texts, in which they are stored: a
/// decoder does not keep it.
private func inOrder(_ part: [String: [String]]) -> [(key: String, value: [String])] {
    part.sorted { $0.key.unicodeScalars.lexicographicallyPrecedes($1.key.unicodeScalars) }
}

/// A text without what spellings differ in: "t shirt", "t-shirt" and "tshirt" are one.
private func key(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.filter { $0 != "-" && $0 != " " }))
}

/// What a text may be the plural of; most of them are no words, and so in no table.
private func singulars(_ text: String) -> [String] {
    let letters = Array(text.unicodeScalars)
    func ends(_ end: String) -> Bool { letters.suffix(end.count).elementsEqual(end.unicodeScalars) }
    func form(_ dropped: Int, _ end: String = "") -> String {
        String(String.UnicodeScalarView(letters.dropLast(dropped))) + end
    }
    guard letters.count > 3, ends("s"), !ends("ss") else { return [] }
    return [form(1)] + (ends("es") ? [form(2)] : []) + (ends("ies") ? [form(3, "y")] : [])
        + (ends("ves") ? [form(3, "f"), form(3, "fe")] : [])
}
