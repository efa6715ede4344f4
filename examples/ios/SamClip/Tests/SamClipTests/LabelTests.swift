import Foundation
import SamClip
import Testing

/// What `label_cases.json` asks, which the Python package answered; and the same of a model.
@Suite struct LabelTests {
    private struct Cases: Decodable {
        let exclusive: [Competing]
        let words: [Known]
        let thresholds: [Packed]
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
        let warning: String?
    }

    private struct Packed: Decodable {
        let name: String
        let pack: Data
        let thresholds: [Float?]?
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

    private final class Warnings: @unchecked Sendable {
        private let lock = NSLock()
        private var messages: [String] = []
        var all: [String] { lock.withLock { messages } }
        func add(_ message: String) { lock.withLock { messages.append(message) } }
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
        #expect(!cases.words.isEmpty)
        for each in cases.words {
            let known = KnownWords(words: each.words, rows: each.embeddings)
            let found = known.nearest(to: each.embedding)
            #expect(found.map(\.word) == each.nearest.map(\.word))
            #expect(found.map(\.cosine) == each.nearest.map(\.cosine))
            #expect(known.warning(of: each.label, embedding: each.embedding) == each.warning)
        }
    }

    @Test func thresholdsAreReadAsInPython() throws {
        let copy = try EditedBundle { manifest in
            var model = manifest["model"] as? [String: Any] ?? [:]
            model["embed_dim"] = 4
            manifest.merge(["name": "cases", "revision": "1", "model": model]) { $1 }
        }
        let manifest = try ModelBundle(folder: copy.folder).manifest
        #expect(!cases.thresholds.isEmpty)
        for each in cases.thresholds {
            guard let wanted = each.thresholds else {
                #expect(throws: SamClipError.self, "\(each.name)") {
                    try LabelPack(each.pack, named: each.name, for: manifest)
                }
                continue
            }
            let pack = try LabelPack(each.pack, named: each.name, for: manifest)
            #expect(pack.thresholds == wanted, "\(each.name)")
        }
    }

    @Test func aLabelHasTheThresholdOfItsPackOrTheBundles() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let golden = try goldens.get()
        let sample = try #require(golden.index.textToMask?.first)
        let content = try golden.bundle.content(of: sample.pack)
        let manifest = golden.bundle.manifest
        let labels = try golden.bundle.labelPack(sample.pack).labels
        let image = try await model.encode(golden.picture(sample.image))
        func present(_ thresholds: [Float?]) async throws -> [Bool] {
            let edited = try with(thresholds: thresholds, content)
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

    /// A pack with thresholds of its labels.
    private func with(thresholds: [Float?], _ pack: Data) throws -> Data {
        let length = pack.withUnsafeBytes {
            Int(UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)))
        }
        let found = try JSONSerialization.jsonObject(with: Data(pack[8..<(8 + length)]))
        var header = try #require(found as? [String: Any])
        var metadata = try #require(header["__metadata__"] as? [String: String])
        metadata["thresholds"] = String(decoding: try JSONEncoder().encode(thresholds), as: UTF8.self)
        header["__metadata__"] = metadata
        let changed = try JSONSerialization.data(withJSONObject: header)
        let start = withUnsafeBytes(of: UInt64(changed.count).littleEndian) { Data($0) }
        return start + changed + Data(pack[(8 + length)...])
    }

    @Test func aModelWarnsOnceOfALabelThatItWasNotTaught() async throws {
        let warnings = Warnings()
        let model = try await SamClip.load(
            from: bundleFolder, backend: backend(), onWarning: warnings.add)
        let words = try await model.words()
        #expect(words.count > 1000 && words.contains("dog"))
        let near = try await model.nearestWords(to: "dog", count: 2)
        #expect(near.map(\.word).first == "dog" && near[0].cosine > 0.98)
        _ = try await model.embed(label: "dogs")
        for _ in 0..<2 { _ = try await model.embed(label: "zxqv") }
        #expect(warnings.all.count == 1)
        #expect(warnings.all[0].hasPrefix("the model was not taught 'zxqv'"))
        await #expect(throws: SamClipError.prompt("count is 0; it must be 1 or more")) {
            try await model.nearestWords(to: "dog", count: 0)
        }
    }

    @Test func aBundleWithoutNounsHasNoWords() async throws {
        let copy = try EditedBundle { manifest in
            let files = manifest["files"] as? [[String: Any]] ?? []
            manifest["files"] = files.filter { $0["path"] as? String != "nouns.safetensors" }
        }
        let warnings = Warnings()
        let model = try await SamClip.load(
            from: copy.folder, backend: backend(), onWarning: warnings.add)
        _ = try await model.embed(label: "zxqv")
        #expect(try await model.words().isEmpty)
        #expect(try await model.nearestWords(to: "zxqv").isEmpty)
        #expect(warnings.all.isEmpty)
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
        let image = try await model.encode(golden.picture(sample.image))
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
