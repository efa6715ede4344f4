import Foundation

/// Labels with their embeddings, so that an app needs no text encoder.
public struct LabelPack: Sendable {
    public let labels: [String]
    /// One row a label, each of unit length.
    public let embeddings: [[Float]]
    /// For each label, 0 to 1, the presence from which it is in an image; nil for the bundle's.
    public let thresholds: [Float?]
    /// What answers must tell of labels that are read as other words or not known; nil for nothing.
    public let readAs: [Reading?]

    static let schemaVersion = "2"

    /// Reads a pack that the model of `manifest` made.
    ///
    /// - Throws: `SamClipError.bundle` if it is no pack; `.schema` if it is of another version;
    ///   `.mismatch` if another model made it.
    public init(contentsOf url: URL, for manifest: Manifest) throws {
        guard let content = try? Data(contentsOf: url) else {
            throw SamClipError.bundle("the label pack \(url.path) cannot be read")
        }
        try self.init(content, named: url.lastPathComponent, for: manifest)
    }

    package init(_ content: Data, named name: String, for manifest: Manifest) throws {
        let file = try SafeTensors(content, named: name)
        let about = file.metadata
        if about["format"] == "samclip labels", let found = about["schema_version"],
            found != Self.schemaVersion
        {
            throw SamClipError.schema(
                "\(name) has schema_version \(found), this package reads \(Self.schemaVersion): "
                    + "save the pack again with the model")
        }
        guard about["format"] == "samclip labels", about["schema_version"] == Self.schemaVersion,
            let text = about["labels"],
            let labels = try? JSONDecoder().decode([String].self, from: Data(text.utf8))
        else {
            throw SamClipError.bundle("\(name) is not a pack of labels of schema_version 2")
        }
        guard about["model"] == manifest.name, about["revision"] == manifest.revision else {
            throw SamClipError.mismatch(
                "\(name) was made by \(about["model"] ?? "an unnamed model") "
                    + "\(about["revision"] ?? ""), this is \(manifest.name) \(manifest.revision): "
                    + "save the pack again with this model")
        }
        let tensor = try file.tensor("embeddings")
        guard tensor.shape == [labels.count, manifest.model.embedDim], !tensor.floats.isEmpty else {
            throw SamClipError.bundle(
                "\(name) has embeddings of \(tensor.shape) for \(labels.count) labels of "
                    + "\(manifest.model.embedDim) numbers")
        }
        self.labels = labels
        thresholds = try Self.thresholds(about["thresholds"], of: labels.count, in: name)
        readAs = try Self.readAs(about["read_as"], of: labels.count, in: name)
        embeddings = (0..<labels.count).map { unit(tensor.rows($0..<($0 + 1)).floats) }
    }

    /// What is stored is JSON; nothing is if no label has its own.
    private static func thresholds(
        _ stored: String?, of count: Int, in name: String
    ) throws -> [Float?] {
        guard let stored else { return Array(repeating: nil, count: count) }
        guard let found = try? JSONDecoder().decode([Float?].self, from: Data(stored.utf8)),
            found.count == count, found.allSatisfy({ (0...1).contains($0 ?? 0) })
        else {
            throw SamClipError.bundle(
                "\(name) has the thresholds \(stored.prefix(60)); it must have a number from 0 to "
                    + "1, or null, for each of \(count) labels")
        }
        return found
    }

    /// What is stored is JSON; nothing is if no label has something to tell.
    private static func readAs(
        _ stored: String?, of count: Int, in name: String
    ) throws -> [Reading?] {
        guard let stored else { return Array(repeating: nil, count: count) }
        guard let found = try? JSONDecoder().decode([StoredReading?].self, from: Data(stored.utf8)),
            found.count == count
        else {
            throw SamClipError.bundle(
                "\(name) has the read_as \(stored.prefix(60)); it must have a reading, or null, "
                    + "for each of \(count) labels: save the pack again")
        }
        return found.map { $0?.reading }
    }
}

/// A reading in a pack: of a label that others answer for, or that is not known.
private struct StoredReading: Decodable {
    let reading: Reading

    /// Of vectors whose length is 1 but for rounding.
    private static let mostCosine: Float = 1.01

    private struct Field: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        func field(_ name: String) -> Field { Field(stringValue: name) }
        let kind = try fields.decode(Reading.Kind.self, forKey: field("kind"))
        let words = try fields.decode([String].self, forKey: field("words"))
        let cosine = try fields.decodeIfPresent(Float.self, forKey: field("cosine"))
        let isRight =
            switch kind {
            case .readAs: cosine == nil
            case .unknown: cosine.map { abs($0) <= Self.mostCosine } ?? false
            case .taught, .same: false
            }
        let others = Set(fields.allKeys.map(\.stringValue)).subtracting(["kind", "words", "cosine"])
        guard isRight, !words.isEmpty, others.isEmpty else {
            throw SamClipError.bundle("this is no reading of a label")
        }
        reading = Reading(kind, words, cosine: cosine)
    }
}

/// A vector brought to unit length; a length below 1e-6 counts as 1e-6.
package func unit(_ vector: [Float]) -> [Float] {
    let length = max(dot(vector[...], vector[...]).squareRoot(), 1e-6)
    return vector.map { $0 / length }
}

package func dot(_ left: ArraySlice<Float>, _ right: ArraySlice<Float>) -> Float {
    zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
}
