import Foundation
import SamClip
import Testing

/// What `label_cases.json` asks, which the Python package answered; and the same of a model.
@Suite struct LabelTests {
    private struct Cases: Decodable {
        let exclusive: [Competing]
        let tables: [Table]
        let readings: [Read]
        let unknown: [Known]
        let thresholds: [Packed]
        let readAs: [Packed]

        private enum CodingKeys: String, CodingKey {
            case exclusive, tables, readings, unknown, thresholds
            case readAs = "read_as"
        }
    }

    private struct Table: Decodable {
        let words: [String]
        let table: WordTable
    }

    private struct Read: Decodable {
        let label: String
        let reading: Answer?
    }

    private struct Answer: Decodable {
        let kind: Reading.Kind
        let words: [String]
        let cosine: Float?
        var reading: Reading { Reading(kind, words, cosine: cosine) }
    }

    private struct Competing: Decodable {
        let name: String
        let size: [Int]
        let presence: [Float]
        let boxes: [[Int]]
        let kept: [Int]
        let owners: [String]
    }

    private struct Known: Decodable {
        let words: [String]
        let embeddings: [[Float]]
        let label: String
        let embedding: [Float]
        let nearest: [Near]
        let reading: Answer
    }

    private struct Packed: Decodable {
        let name: String
        let pack: Data
        let thresholds: [Float?]?
        let readAs: [Answer?]?

        private enum CodingKeys: String, CodingKey {
            case name, pack, thresholds
            case readAs = "read_as"
        }
    }

    private struct Near: Decodable {
        let word: String
        let cosine: Float

        init(from decoder: any Decoder) throws {
            var pair = try decoder.unkeyedContainer()
            word = try pair.decode(String.self)
            cosine = try pair.decode(Float.self)
        }
    }

    private let cases: Cases

    init() throws {
        let path = repository.appendingPathComponent("examples/label_cases.json")
        cases = try JSONDecoder().decode(Cases.self, from: Data(contentsOf: path))
    }

    @Test func labelsCompeteAsInPython() {
        #expect(!cases.exclusive.isEmpty)
        for each in cases.exclusive {
            let (height, width) = (each.size[0], each.size[1])
            let masks = each.boxes.map { box in
                let pixels = (0..<(height * width)).map { place in
                    let (x, y) = (place % width, place / width)
                    return x >= box[0] && x < box[2] && y >= box[1] && y < box[3]
                }
                return Mask(pixels: pixels, height: height, width: width)
            }
            let left = settled(masks, labels: Array(masks.indices), likelihoods: each.presence)
            #expect(left.indices.filter { left[$0] != nil } == each.kept, "\(each.name)")
            let owners = each.owners.joined()
            for place in each.kept {
                let wanted = owners.map { $0 == Character("\(place)") }
                #expect(left[place]?.pixels == wanted, "\(each.name)")
            }
        }
    }

    @Test func wordsAreNearAsInPython() {
        #expect(!cases.unknown.isEmpty)
        for each in cases.unknown {
            let known = KnownWords(words: each.words, rows: each.embeddings)
            let found = known.nearest(to: each.embedding)
            #expect(found.map(\.word) == each.nearest.map(\.word))
            #expect(found.map(\.cosine) == each.nearest.map(\.cosine))
            #expect(known.unknown(each.embedding) == each.reading.reading)
        }
    }

    @Test func labelsAreReadAsInPython() throws {
        let asked = try #require(cases.tables.first)
        let reader = WordReader(asked.table, words: asked.words)
        #expect(!cases.readings.isEmpty)
        for each in cases.readings {
            #expect(reader.read(cleaned(each.label)) == each.reading?.reading, "\(each.label)")
        }
    }

    @Test func packsAreReadAsInPython() throws {
        let copy = try EditedBundle { manifest in
            var model = manifest["model"] as? [String: Any] ?? [:]
            model["embed_dim"] = 4
            manifest.merge(["name": "cases", "revision": "1", "model": model]) { $1 }
        }
        let manifest = try ModelBundle(folder: copy.folder).manifest
        func packed(_ each: Packed) throws -> LabelPack {
            try LabelPack(each.pack, named: each.name, for: manifest)
        }
        #expect(!cases.thresholds.isEmpty && !cases.readAs.isEmpty)
        for each in cases.thresholds {
            if let wanted = each.thresholds {
                #expect(try packed(each).thresholds == wanted, "\(each.name)")
            } else {
                #expect(throws: SamClipError.self, "\(each.name)") { try packed(each) }
            }
        }
        for each in cases.readAs {
            if let wanted = each.readAs {
                #expect(try packed(each).readAs == wanted.map { $0?.reading }, "\(each.name)")
            } else {
                #expect(throws: SamClipError.self, "\(each.name)") { try packed(each) }
            }
        }
    }

    @Test func anOldPackIsRefused() throws {
        let golden = try goldens.get()
        let content = try golden.bundle.content(of: "golden/labels.safetensors")
        let old = try with("schema_version", "1", content)
        #expect(
            throws: SamClipError.schema(
                "old has schema_version 1, this package reads 2: save the pack again with the model")
        ) { try LabelPack(old, named: "old", for: golden.bundle.manifest) }
    }

    @Test func aLabelHasTheThresholdOfItsPackOrTheBundles() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let content = try golden.bundle.content(of: sample.pack)
        let manifest = golden.bundle.manifest
        let labels = try golden.bundle.labelPack(sample.pack).labels
        let image = try await model.encode(golden.rgbImage(sample.image))
        func present(_ thresholds: [Float?]) async throws -> [Bool] {
            let stored = String(decoding: try JSONEncoder().encode(thresholds), as: UTF8.self)
            let edited = try with("thresholds", stored, content)
            await model.learn(try LabelPack(edited, named: sample.pack, for: manifest))
            return try await model.segment(image, labels: labels).map(\.isPresent)
        }
        await model.learn(try golden.bundle.labelPack(sample.pack))
        let odds = try await model.segment(image, labels: labels).map(\.presence)
        #expect(try await present(odds) == odds.map { _ in true })
        #expect(try await present(odds.map { min(1, $0 + 1e-4) }) == odds.map { _ in false })
        let usual = manifest.calibration.presenceThreshold
        #expect(try await present(odds.map { _ in nil }) == odds.map { $0 >= usual })
    }

    /// A pack with other metadata.
    private func with(_ key: String, _ stored: String, _ pack: Data) throws -> Data {
        let length = pack.withUnsafeBytes {
            Int(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)))
        }
        let found = try JSONSerialization.jsonObject(with: Data(pack[8..<(8 + length)]))
        var header = try #require(found as? [String: Any])
        var metadata = try #require(header["__metadata__"] as? [String: String])
        metadata[key] = stored
        header["__metadata__"] = metadata
        let changed = try JSONSerialization.data(withJSONObject: header)
        let start = withUnsafeBytes(of: UInt64(changed.count).littleEndian) { Data($0) }
        return start + changed + Data(pack[(8 + length)...])
    }

    @Test func aModelTellsItsWords() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let words = try await model.words()
        #expect(words.count > 1000 && words.contains("dog"))
        let near = try await model.nearestWords(to: "dog", count: 2)
        #expect(near.map(\.word).first == "dog" && near[0].cosine > 0.98)
        await #expect(throws: SamClipError.prompt("count is 0; it must be 1 or more")) {
            try await model.nearestWords(to: "dog", count: 0)
        }
    }

    /// A bundle with a table of its own, in which a pet is a person or the sky, which the golden
    /// image shows.
    private func withTable(
        _ edit: (inout [String: Any]) -> Void = { _ in }
    ) throws -> EditedBundle {
        let table = """
            {"schema_version": 1, "same": {"sofa": ["couch"]}, "read_as": {"person": ["woman"]},
            "any_of": {"pet": ["person", "sky", "yeti"]}, "unknown": ["hot plate"],
            "joints": ["of", "with"], "measures": ["slice"], "articles": ["a", "the"]}
            """
        let copy = try EditedBundle { manifest in
            let files = manifest["files"] as? [[String: Any]] ?? []
            let entry = ["path": "words.json", "sha256": sha256Digits(Data(table.utf8))]
            manifest["files"] = files.filter { $0["path"] as? String != "words.json" } + [entry]
            edit(&manifest)
        }
        try? copy.remove("words.json")
        try Data(table.utf8).write(to: copy.url("words.json"))
        return copy
    }

    private func without(_ graph: String, _ manifest: inout [String: Any]) {
        let graphs = manifest["graphs"] as? [String: Any] ?? [:]
        manifest["graphs"] = graphs.filter { !$0.key.hasPrefix(graph) }
    }

    @Test func aModelReadsLabelsByItsTable() async throws {
        let copy = try withTable()
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let labels = ["dog", "couches", "woman", "pet", "zxqv", "hot plate"]
        let readings = try await model.readLabels(labels)
        #expect(readings["dog"] == Reading(.taught, ["dog"]))
        #expect(readings["couches"] == Reading(.same, ["sofa"]))
        #expect(readings["woman"] == Reading(.readAs, ["person"]))
        #expect(readings["pet"] == Reading(.readAs, ["person", "sky"]))
        for label in ["zxqv", "hot plate"] {
            let near = try await model.nearestWords(to: label, count: 1)[0]
            #expect(readings[label] == Reading(.unknown, [near.word], cosine: near.cosine))
        }
        let (woman, person) = (
            try await model.embed(label: "woman"), try await model.embed(label: "person")
        )
        #expect(woman == person)
        await #expect(
            throws: SamClipError.text(
                "\"pet\" is any of person, sky, and has no embedding of its own: give these labels")
        ) { try await model.embed(label: "pet") }
    }

    @Test(arguments: [true, false])
    func answersAreOfWhatLabelsAreReadAs(byGraph: Bool) async throws {
        let copy = try withTable { if !byGraph { without("text_to_mask@", &$0) } }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let golden = try goldens.get()
        let rgbImage = try golden.rgbImage(try #require(golden.index.textToMask?.first).image)
        let image = try await model.encode(rgbImage)
        let labels = ["person", "sky", "woman", "pet", "zxqv"]
        let found = try await model.segment(image, labels: labels)
        let (person, sky, woman, pet, unknown) = (found[0], found[1], found[2], found[3], found[4])
        #expect(found.prefix(4).allSatisfy { $0.isPresent })
        #expect(person.readAs == nil && sky.readAs == nil)
        #expect(woman.readAs?.words == ["person"] && woman.mask.area == person.mask.area)
        #expect(abs(woman.presence - person.presence) < 1e-5)
        #expect(abs(pet.presence - max(person.presence, sky.presence)) < 1e-5)
        let any = zip(person.mask.pixels, sky.mask.pixels).map { $0 || $1 }
        #expect(iou(pet.mask.pixels, any) > 0.8)

        #expect(!unknown.isPresent && unknown.presence > 0 && unknown.mask.area == 0)
        #expect(unknown.readAs?.kind == .unknown)
        let allowed = try await model.segment(image, labels: labels, allowUnknown: true)[4]
        let usual = model.bundle.manifest.calibration.presenceThreshold
        #expect(allowed.presence == unknown.presence)
        #expect(allowed.isPresent == (allowed.presence >= usual))
        let all = try await model.segment(image, labels: labels, threshold: 0)
        #expect(all.allSatisfy { $0.isPresent })
        let none = try await model.segment(image, labels: labels, threshold: 1)
        #expect(none.allSatisfy { !$0.isPresent && $0.mask.area == 0 })
        await #expect(throws: SamClipError.prompt("threshold is 2.0; it must be from 0 to 1")) {
            try await model.segment(image, labels: labels, threshold: 2)
        }
    }

    @Test func objectsAndClassesAreOfWhatLabelsAreReadAs() async throws {
        let copy = try withTable()
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let golden = try goldens.get()
        let rgbImage = try golden.rgbImage(try #require(golden.index.textToMask?.first).image)
        let image = try await model.encode(rgbImage)
        let objects = try await model.segmentInstances(
            image, labels: ["woman", "zxqv"], minScore: 0)
        #expect(!objects.isEmpty)
        #expect(objects.allSatisfy { $0.label == "woman" && $0.readAs?.words == ["person"] })
        let more = try await model.segmentInstances(
            image, labels: ["woman", "zxqv"], threshold: 0, minScore: 0)
        #expect(more.contains { $0.readAs?.kind == .unknown })
        let pets = try await model.segmentInstances(image, labels: ["pet"], minScore: 0)
        #expect(!pets.isEmpty)

        let ranked = try await model.classify(rgbImage, labels: ["person", "sky", "woman", "pet"])
        let shares = Dictionary(uniqueKeysWithValues: ranked.map { ($0.label, $0) })
        #expect(shares["woman"]?.probability == shares["person"]?.probability)
        #expect(shares["pet"]?.probability == ranked[0].probability)
        #expect(shares["person"]?.readAs == nil && shares["pet"]?.readAs?.words.count == 2)
    }

    @Test func aPackTellsWhatItsLabelsAreReadAsWithoutATextEncoder() async throws {
        let copy = try withTable { manifest in
            without("text_encoder", &manifest)
            let files = manifest["files"] as? [[String: Any]] ?? []
            manifest["files"] = files.filter { $0["path"] as? String != "nouns.safetensors" }
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let stored = """
            [{"kind": "read_as", "words": ["hat"]}, null,
            {"kind": "unknown", "words": ["modem"], "cosine": 0.25}]
            """
        let edited = try with("read_as", stored, golden.bundle.content(of: sample.pack))
        let pack = try LabelPack(edited, named: sample.pack, for: golden.bundle.manifest)
        await model.learn(pack)
        let told = [
            Reading(.readAs, ["hat"]), nil, Reading(.unknown, ["modem"], cosine: 0.25),
        ]
        let readings = try await model.readLabels(pack.labels)
        let taught = Reading(.taught, [pack.labels[1]])
        #expect(pack.labels.map { readings[$0] } == [told[0], taught, told[2]])
        let image = try await model.encode(golden.rgbImage(sample.image))
        let found = try await model.segment(image, labels: pack.labels)
        #expect(found.map(\.readAs) == told)
        #expect(found[0].isPresent && !found[2].isPresent)
        let allowed = try await model.segment(image, labels: pack.labels, allowUnknown: true)
        #expect(allowed[2].isPresent && allowed[2].presence == found[2].presence)
    }

    /// Of a general word the highest threshold of its words counts.
    @Test func aReadLabelHasTheThresholdOfItsWord() async throws {
        let copy = try withTable()
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let content = try golden.bundle.content(of: sample.pack)
        let edited = try with("thresholds", "[1, null, null]", content)
        await model.learn(try LabelPack(edited, named: sample.pack, for: golden.bundle.manifest))
        let image = try await model.encode(golden.rgbImage(sample.image))
        let found = try await model.segment(image, labels: ["woman", "pet", "sky"])
        #expect(found.map(\.isPresent) == [false, false, true])
    }

    @Test func aTableThatIsNoneIsRefused() async throws {
        let copy = try withTable()
        try copy.damage("words.json")
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        await #expect(throws: SamClipError.self) { try await model.readLabels(["dog"]) }
        for stored in ["", "[]", #"{"schema_version": 1, "same": {}}"#] {
            #expect(throws: SamClipError.self) { try WordTable(Data(stored.utf8), named: "words") }
        }
        #expect(
            throws: SamClipError.schema(
                "words has schema_version 2, this package reads 1; update the package")
        ) { try WordTable(Data(#"{"schema_version": 2}"#.utf8), named: "words") }
    }

    @Test func aBundleWithoutATableLetsEachTextSpeakForItself() async throws {
        let copy = try withTable()
        try copy.remove("words.json")
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        #expect(try await model.readLabels(["woman", "zxqv"]).isEmpty)
        #expect(try await model.embed(label: "woman") != model.embed(label: "person"))
    }

    @Test func aBundleWithoutNounsHasNoWords() async throws {
        let copy = try EditedBundle { manifest in
            let files = manifest["files"] as? [[String: Any]] ?? []
            manifest["files"] = files.filter { $0["path"] as? String != "nouns.safetensors" }
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        _ = try await model.embed(label: "zxqv")
        #expect(try await model.words().isEmpty)
        #expect(try await model.nearestWords(to: "zxqv").isEmpty)
        #expect(try await model.readLabels(["zxqv"]).isEmpty)
    }

    @Test func labelsThatCompeteShareNoPixel() async throws {
        let copy = try EditedBundle { manifest in
            var calibration = manifest["calibration"] as? [String: Any] ?? [:]
            calibration["presence_threshold"] = 0.001
            manifest["calibration"] = calibration
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let labels = try golden.bundle.labelPack(sample.pack).labels
        await model.learn(try golden.bundle.labelPack(sample.pack))
        let image = try await model.encode(golden.rgbImage(sample.image))
        let every = try await model.segment(image, labels: labels)
        let found = try await model.segment(image, labels: labels, exclusive: true)
        #expect(found.map(\.presence) == every.map(\.presence))
        #expect(found.allSatisfy { $0.isPresent || ($0.mask.area == 0 && $0.score == 0) })
        for place in found[0].mask.pixels.indices {
            let owners = found.filter { $0.mask.pixels[place] }.count
            if owners > 1 {
                Issue.record("a pixel has \(owners) labels")
                break
            }
        }
    }
}
