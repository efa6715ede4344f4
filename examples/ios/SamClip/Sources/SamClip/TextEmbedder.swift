import Foundation

/// A label as an image is asked for it.
struct AskedLabel: Sendable {
    let label: String
    /// What an answer must tell of it.
    let readAs: Reading?
    /// The embeddings of the words that answer for it: it is there if any of them is.
    let texts: [[Float]]
    /// The presence from which it is there.
    let threshold: Float
}

/// Texts and labels to embeddings of unit length; a label's is computed once.
///
/// What labels are read as is told in `samclip_sdk/engine/texts.py`.
actor TextEmbedder {
    /// What a pack gave a label: a threshold is nil for the bundle's, and a reading is what answers
    /// must tell.
    private struct Given {
        let embedding: [Float]
        let threshold: Float?
        let readAs: Reading?
    }

    private let bundle: ModelBundle
    private let sessions: Sessions
    private var given: [String: Given] = [:]
    private var computed: [String: [Float]] = [:]
    private var tokenizer: Tokenizer?
    private var taught: KnownWords?
    private var opened: WordReader?
    private static let nouns = "nouns.safetensors"
    private static let table = "words.json"
    /// The threshold of a label that is not known: no presence reaches it.
    private static let never: Float = 2

    init(bundle: ModelBundle, sessions: Sessions) {
        self.bundle = bundle
        self.sessions = sessions
    }

    func learn(_ pack: LabelPack) {
        for (place, label) in pack.labels.map(cleaned).enumerated() {
            given[label] = Given(
                embedding: pack.embeddings[place], threshold: pack.thresholds[place],
                readAs: pack.readAs[place])
        }
    }

    /// What the model takes each label for; nil for all if it does not tell its words: then each
    /// text speaks for itself.
    func read(_ labels: [String]) async throws -> [Reading?] {
        var readings: [Reading?] = []
        for (label, name) in zip(labels, try checked(labels)) {
            readings.append(try await reading(label, name))
        }
        return readings
    }

    /// Labels as they are read.
    ///
    /// - Parameters:
    ///   - threshold: that of all labels; without one, a label that is not known is never there.
    ///   - allowUnknown: whether it may be there all the same.
    func ask(
        _ labels: [String], threshold: Float? = nil, allowUnknown: Bool = false
    ) async throws -> [AskedLabel] {
        var asked: [AskedLabel] = []
        for (label, name) in zip(labels, try checked(labels)) {
            let reading = try await reading(label, name)
            var words = [name]
            if let reading, reading.kind != .unknown, given[name] == nil {
                words = reading.words.map(cleaned)
            }
            var texts: [[Float]] = []
            for word in words { texts.append(try await own(word)) }
            let never = reading?.kind == .unknown && !allowUnknown ? Self.never : nil
            let usual = bundle.manifest.calibration.presenceThreshold
            let least = try threshold ?? never ?? ownThreshold(words) ?? usual
            asked.append(
                AskedLabel(label: label, readAs: reading?.told, texts: texts, threshold: least))
        }
        return asked
    }

    private func reading(_ label: String, _ name: String) async throws -> Reading? {
        if let given = given[name] { return given.readAs ?? Reading(.taught, [label]) }
        guard let words = try words(), let reader = try reader(words) else { return nil }
        if let found = reader.read(name) { return found }
        return words.unknown(try await own(name))
    }

    /// Of several words that answer for a label the highest threshold counts; nil if none has one.
    private func ownThreshold(_ words: [String]) throws -> Float? {
        try words.compactMap { word in
            if let given = given[word] { return given.threshold }
            return try self.words()?.thresholds[word]
        }.max()
    }

    func embedding(ofText text: String) async throws -> [Float] {
        if cleaned(text).isEmpty { throw SamClipError.text("the text is empty") }
        return try await embeddings(ofPrompts: [text])[0]
    }

    /// The embedding of the word that a label is read as.
    func embedding(ofLabel label: String) async throws -> [Float] {
        let asked = try await ask([label])[0]
        guard asked.texts.count == 1 else {
            let words = (asked.readAs?.words ?? []).joined(separator: ", ")
            throw SamClipError.text(
                "\"\(label)\" is any of \(words), and has no embedding of its own: give these "
                    + "labels")
        }
        return asked.texts[0]
    }

    /// The words that images taught the model; none if its bundle does not tell, or the app does
    /// not bring them.
    func words() throws -> KnownWords? {
        if taught == nil, bundle.has(Self.nouns) {
            let pack = try bundle.labelPack(Self.nouns)
            taught = KnownWords(
                words: pack.labels, rows: pack.embeddings, thresholds: pack.thresholds)
        }
        return taught
    }

    private func reader(_ known: KnownWords) throws -> WordReader? {
        if opened == nil, bundle.has(Self.table) {
            let table = try WordTable(bundle.content(of: Self.table), named: Self.table)
            opened = WordReader(table, words: known.words)
        }
        return opened
    }

    /// The words that are nearest to a label's own embedding.
    func words(near label: String, count: Int) async throws -> [NearWord] {
        let row = try await own(try checked([label])[0])
        return try words()?.nearest(to: row, count: count) ?? []
    }

    /// A clean label's own embedding, whatever it is read as: what a pack gave, or else the mean
    /// over the bundle's templates.
    private func own(_ name: String) async throws -> [Float] {
        if let row = given[name]?.embedding ?? computed[name] { return row }
        let prompts = bundle.manifest.text.templates.map {
            $0.replacingOccurrences(of: "{}", with: name)
        }
        let found = try await embeddings(ofPrompts: prompts)
        let row = unit(found.dropFirst().reduce(found[0]) { zip($0, $1).map(+) })
        computed[name] = row
        return row
    }

    private func embeddings(ofPrompts prompts: [String]) async throws -> [[Float]] {
        let ids = try openedTokenizer().batch(prompts)
        let found = try await sessions.run("text_encoder", ["input_ids": ids])
        let embeddings = try found.tensor("text_embeddings")
        return (0..<prompts.count).map { embeddings.rows($0..<($0 + 1)).floats }
    }

    private func openedTokenizer() throws -> Tokenizer {
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
