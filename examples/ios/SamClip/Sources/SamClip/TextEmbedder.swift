import Foundation

/// Texts and labels to embeddings of unit length; a label's is computed once.
actor TextEmbedder {
    private let bundle: ModelBundle
    private let sessions: Sessions
    private var known: [String: [Float]] = [:]
    private var thresholds: [String: Float] = [:]
    private var tokenizer: Tokenizer?
    private var taught: KnownWords?
    private let onWarning: @Sendable (String) -> Void
    private static let nouns = "nouns.safetensors"

    init(
        bundle: ModelBundle, sessions: Sessions, onWarning: @escaping @Sendable (String) -> Void
    ) {
        self.bundle = bundle
        self.sessions = sessions
        self.onWarning = onWarning
    }

    func learn(_ pack: LabelPack) {
        for (place, label) in pack.labels.map(cleaned).enumerated() {
            known[label] = pack.embeddings[place]
            thresholds[label] = pack.thresholds[place]
        }
    }

    /// The presence from which each label is in a picture: its own, or the bundle's.
    func thresholds(ofLabels labels: [String]) -> [Float] {
        labels.map { thresholds[cleaned($0)] ?? bundle.manifest.calibration.presenceThreshold }
    }

    func embedding(ofText text: String) async throws -> [Float] {
        if cleaned(text).isEmpty { throw SamClipError.text("the text is empty") }
        return try await embeddings(ofPrompts: [text])[0]
    }

    /// The mean over the bundle's templates of each label.
    func embeddings(ofLabels labels: [String]) async throws -> [[Float]] {
        var rows: [[Float]] = []
        for (label, name) in zip(labels, try checked(labels)) {
            if let row = known[name] {
                rows.append(row)
                continue
            }
            let row = try await embedded(name)
            // An app that ships no nouns is not told.
            if let words = try? words(), let told = words.warning(of: label, embedding: row) {
                onWarning(told)
            }
            rows.append(row)
        }
        return rows
    }

    /// The words that pictures taught the model; none if its bundle does not tell.
    func words() throws -> KnownWords? {
        if taught == nil, bundle.manifest.files.contains(where: { $0.path == Self.nouns }) {
            let pack = try bundle.labelPack(Self.nouns)
            taught = KnownWords(words: pack.labels, rows: pack.embeddings)
        }
        return taught
    }

    /// The words that are nearest to a label; nobody is warned of it.
    func words(near label: String, count: Int) async throws -> [NearWord] {
        let name = try checked([label])[0]
        let row = if let row = known[name] { row } else { try await embedded(name) }
        return try words()?.nearest(to: row, count: count) ?? []
    }

    private func embedded(_ name: String) async throws -> [Float] {
        let prompts = bundle.manifest.text.templates.map {
            $0.replacingOccurrences(of: "{}", with: name)
        }
        let found = try await embeddings(ofPrompts: prompts)
        let row = unit(found.dropFirst().reduce(found[0]) { zip($0, $1).map(+) })
        known[name] = row
        return row
    }

    private func embeddings(ofPrompts prompts: [String]) async throws -> [[Float]] {
        let ids = try opened().batch(prompts)
        let found = try await sessions.run("text_encoder", ["input_ids": ids])
        let embeddings = try found.tensor("text_embeddings")
        return (0..<prompts.count).map { embeddings.rows($0..<($0 + 1)).floats }
    }

    private func opened() throws -> Tokenizer {
        if let tokenizer { return tokenizer }
        let opened = try Tokenizer(json: bundle.content(of: "tokenizer.json"))
        tokenizer = opened
        return opened
    }

    /// The labels as they are cleaned.
    private func checked(_ labels: [String]) throws -> [String] {
        if labels.isEmpty { throw SamClipError.text("there is no label: give at least one") }
        var seen: Set<String> = []
        return try labels.map { label in
            let name = cleaned(label)
            if name.isEmpty { throw SamClipError.text("the label \"\(label)\" is empty") }
            if label.unicodeScalars.contains(",") {
                throw SamClipError.text(
                    "the label \"\(label)\" has a comma: give a label for each word")
            }
            guard seen.insert(name).inserted else {
                throw SamClipError.text("the label \"\(label)\" is there twice")
            }
            return name
        }
    }
}
