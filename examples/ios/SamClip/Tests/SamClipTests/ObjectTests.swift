import Foundation
import SamClip
import Testing

/// What `object_cases.json` asks, which the Python package answered; and the objects of a model.
@Suite struct ObjectTests {
    private struct Cases: Decodable {
        let resolution: Int
        let side: Int
        let grid: Int
        let lowest: Double
        let textEmbedding: [Float]
        let calibration: Manifest.Calibration
        let cases: [Case]
    }

    private struct Case: Decodable {
        let name: String
        let size: [Int]
        let extent: [Float]
        let maskThreshold: Float
        let label: [[Double]]
        let candidates: [Prompt]
        let decoded: [[Drawn]]
        let objects: [Object]
    }

    private struct Prompt: Decodable {
        let point: [Float]
        let box: [Float]
    }

    private struct Drawn: Decodable {
        let blobs: [[Double]]
        let predictedIou: Float
    }

    private struct Object: Decodable {
        let score: Float
        let labelScore: Float
        let predictedIou: Float
        let stabilityScore: Float
        let area: Int
        let box: [Double]
    }

    private let cases: Cases
    private let golden: Goldens

    init() throws {
        let path = repository.appendingPathComponent("examples/object_cases.json")
        let read = try JSONSerialization.jsonObject(with: Data(contentsOf: path))
        var content = try #require(read as? [String: Any])
        // What a manifest has besides, and objects do not need.
        let calibration = try #require(content["calibration"] as? [String: Any])
        content["calibration"] = calibration.merging(
            ["presence_threshold": 0.5, "mask_threshold_score": 0.5]) { $1 }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        cases = try decoder.decode(
            Cases.self, from: JSONSerialization.data(withJSONObject: content))
        golden = try goldens.get()
    }

    @Test func partsAreAskedForAsInPython() {
        #expect(!cases.cases.isEmpty)
        for each in cases.cases {
            let found = whole(each).candidates()
            #expect(found.count == each.candidates.count, "\(each.name)")
            for (candidate, wanted) in zip(found, each.candidates) {
                #expect(isNear(candidate.point, wanted.point), "\(each.name)")
                #expect(isNear(candidate.corners.flatMap { $0 }, wanted.box), "\(each.name)")
            }
        }
    }

    @Test func objectsAreToldAsInPython() throws {
        for each in cases.cases {
            let candidates = whole(each).candidates()
            let masks = each.decoded.map { four in drawn(four, each) }
            let chosen =
                candidates.count < 2
                ? [masks[0][0]]
                : try zip(candidates, masks).map { try #require($0.best(of: $1)) }
            let found = distinctObjects(
                chosen, patches: patches, texts: [cases.textEmbedding], label: 0,
                calibration: cases.calibration)
            #expect(found.count == each.objects.count, "\(each.name)")
            for (object, wanted) in zip(found, each.objects) {
                let mask = object.drawn.mask
                let box = try #require(mask.box)
                let numbers = [
                    object.score, object.labelScore, object.drawn.predictedIoU, object.stability,
                ]
                let expected = [
                    wanted.score, wanted.labelScore, wanted.predictedIou, wanted.stabilityScore,
                ]
                #expect(isNear(numbers, expected), "\(each.name)")
                #expect(abs(mask.area - wanted.area) * 100 <= wanted.area, "\(each.name)")
                let edges = [box.left, box.top, box.right, box.bottom]
                #expect(zip(edges, wanted.box).allSatisfy { abs($0 - $1) <= 1 }, "\(each.name)")
            }
        }
    }

    private func isNear(_ found: [Float], _ wanted: [Float]) -> Bool {
        found.count == wanted.count && zip(found, wanted).allSatisfy { abs($0 - $1) <= 1e-3 }
    }

    private func whole(_ each: Case) -> DrawnMask {
        drawn([Drawn(blobs: each.label, predictedIou: 0)], each)[0]
    }

    /// The decoder's masks of one prompt.
    private func drawn(_ masks: [Drawn], _ each: Case) -> [DrawnMask] {
        let frame = Frame(height: each.size[0], width: each.size[1], resolution: cases.resolution)
        #expect(frame.extent.floats == each.extent, "\(each.name)")
        let lowRes = Tensor(
            masks.flatMap { logits($0.blobs) }, shape: [1, masks.count, cases.side, cases.side])
        let scores = Tensor(masks.map(\.predictedIou), shape: [1, masks.count])
        return masks.indices.map { token in
            DrawnMask(
                lowRes, scores, prompt: 0, token: token, frame: frame,
                threshold: each.maskThreshold)
        }
    }

    /// Of left, top, across, down and peak, as `tests/object_cases.py` draws them.
    private func logits(_ blobs: [[Double]]) -> [Float] {
        (0..<(cases.side * cases.side)).map { pixel in
            let (x, y) = (Double(pixel % cases.side), Double(pixel / cases.side))
            let values = blobs.map { blob in
                let (across, down) = ((x - blob[0]) / blob[2], (y - blob[1]) / blob[3])
                return blob[4] * (1 - (across * across + down * down))
            }
            return Float(max(cases.lowest, values.max() ?? cases.lowest))
        }
    }

    /// Unit vectors that turn by 1/8 radian from one column to the next.
    private var patches: Tensor {
        let cells = cases.grid * cases.grid
        let vectors = (0..<cells).flatMap { cell -> [Float] in
            let angle = Float(cell % cases.grid) / 8
            return [cos(angle), sin(angle)]
        }
        return Tensor(vectors, shape: [1, cells, 2])
    }

    /// A model that has learnt the labels of the first golden image, and that image.
    private func asked(
        _ folder: URL = bundleFolder
    ) async throws -> (SamClip, EncodedImage, [String]) {
        let model = try await SamClip.load(from: folder, backend: backend())
        let sample = try #require(golden.index.textToMask?.first)
        let pack = try golden.bundle.labelPack(sample.pack)
        await model.learn(pack)
        return (model, try await model.encode(golden.rgbImage(sample.image)), pack.labels)
    }

    @Test func objectsOfAModelAreConsistent() async throws {
        let (model, image, labels) = try await asked()
        let found = try await model.segmentInstances(
            image, labels: labels, threshold: 0.001, minScore: 0)
        #expect(!found.isEmpty)
        #expect(found.allSatisfy { $0.mask.area > 0 && labels.contains($0.label) })
        #expect(found.map(\.score) == found.map(\.score).sorted(by: >))
        for each in found {
            let numbers = [each.score, each.labelScore, each.stabilityScore]
            #expect(numbers.allSatisfy { (0...1).contains($0) } && each.predictedIoU <= 1)
        }
        let least = found[found.count / 2].score
        let sure = try await model.segmentInstances(
            image, labels: labels, threshold: 0.001, minScore: least)
        #expect(sure.map(\.score) == found.map(\.score).filter { $0 >= least })
        let best = try await model.segmentInstances(
            image, labels: labels, threshold: 0.001, minScore: 0, maxInstances: 1)
        #expect(best.map(\.score) == [found[0].score])
        #expect(best[0].mask == found[0].mask)
    }

    @Test func objectsOfLabelsThatCompeteShareNoPixel() async throws {
        let (model, image, labels) = try await asked()
        let found = try await model.segmentInstances(
            image, labels: labels, threshold: 0.001, minScore: 0, exclusive: true)
        #expect(found.allSatisfy { $0.mask.area > 0 })
        let isShared = found[0].mask.pixels.indices.contains { place in
            Set(found.filter { $0.mask.pixels[place] }.map(\.label)).count > 1
        }
        #expect(!isShared)
    }

    @Test func objectsOfOneLabelDoNotCompete() {
        let masks = [[true, true, false], [true, true, true], [false, true, true]].map {
            Mask(pixels: $0, height: 1, width: 3)
        }
        let left = settled(masks, labels: [0, 0, 1], likelihoods: [0.9, 0.8, 0.7])
        #expect(left == [masks[0], masks[1], nil])
    }

    @Test func anAbsentLabelHasNoObjects() async throws {
        let (model, image, labels) = try await asked()
        let found = try await model.segmentInstances(
            image, labels: labels, threshold: 1, minScore: 0)
        #expect(found.isEmpty)
    }

    /// A score that no object reaches, and a bundle that calibrates no objects.
    @Test func theBundleSaysWhichObjectsAreTold() async throws {
        for least in [1.0, nil] {
            let copy = try EditedBundle { manifest in
                var calibration = manifest["calibration"] as? [String: Any] ?? [:]
                calibration["objects"] = least.map {
                    [
                        "label_score": 1, "predicted_iou": 2, "stability_score": 1, "bias": -3,
                        "min_score": $0,
                    ]
                }
                manifest["calibration"] = calibration
            }
            let (model, image, labels) = try await asked(copy.folder)
            let told = try await model.segmentInstances(image, labels: labels, threshold: 0.001)
            let every = try await model.segmentInstances(
                image, labels: labels, threshold: 0.001, minScore: 0)
            #expect(!every.isEmpty)
            #expect(told.count == (least == nil ? every.count : 0))
        }
    }

    @Test func optionsOutOfTheirRangeAreRefused() async throws {
        let (model, image, labels) = try await asked()
        await #expect(throws: SamClipError.prompt("minScore is 1.5; it must be from 0 to 1")) {
            try await model.segmentInstances(image, labels: labels, minScore: 1.5)
        }
        await #expect(throws: SamClipError.prompt("minScore is nan; it must be from 0 to 1")) {
            try await model.segmentInstances(image, labels: labels, minScore: .nan)
        }
        await #expect(throws: SamClipError.prompt("threshold is -0.5; it must be from 0 to 1")) {
            try await model.segmentInstances(image, labels: labels, threshold: -0.5)
        }
        await #expect(throws: SamClipError.prompt("maskThreshold is inf; it must be finite")) {
            try await model.segmentInstances(image, labels: labels, maskThreshold: .infinity)
        }
        await #expect(throws: SamClipError.prompt("maxInstances is 0; it must be 1 or more")) {
            try await model.segmentInstances(image, labels: labels, maxInstances: 0)
        }
    }
}
