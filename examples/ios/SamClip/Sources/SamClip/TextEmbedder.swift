import Foundation

/// Texts and labels to embeddings of unit length; a label's is computed once.
actor TextEmbedder {
    private let bundle: ModelBundle
    private let sessions: Sessions
    private var known: [String: [Float]] = [:]
    private var tokenizer: Tokenizer?

    init(bundle: ModelBundle, sessions: Sessions) {
        self.bundle = bundle
        self.sessions = sessions
    }

    func learn(_ pack: LabelPack) {
        for (label, embedding) in zip(pack.labels, pack.embeddings) {
            known[cleaned(label)] = embedding
        }
    }

    func embedding(ofText text: String) async throws -> [Float] {
        if cleaned(text).isEmpty { throw SamClipError.text("the text is empty") }
        return try await embeddings(ofPrompts: [text])[0]
    }

    /// The mean over the bundle's templates of each label.
    func embeddings(ofLabels labels: [String]) async throws -> [[Float]] {
        let names = try checked(labels)
        var rows: [[Float]] = []
        for name in names {
            if known[name] == nil {
                let prompts = bundle.manifest.text.templates.map {
                    $0.replacingOccurrences(of: "{}", with: name)
                }
                let found = try await embeddings(ofPrompts: prompts)
                let sum = found.dropFirst().reduce(found[0]) { zip($0, $1).map(+) }
                known[name] = unit(sum)
            }
            rows.append(known[name] ?? [])
        }
        return rows
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
            guard seen.insert(name).inserted else {
                throw SamClipError.text("the label \"\(label)\" is there twice")
            }
            return name
        }
    }
}
