import Foundation
import SamClip

#if canImport(SamClipOnnx)
import SamClipOnnx

func backend(precision: String = "fp32") -> any Backend { OnnxBackend(precision: precision) }
let precisions = ["fp32", "fp16", "int8"]
#else
import SamClipCoreML

/// On a Mac: of a bundle that was exported with Core ML packages.
func backend(precision: String = "fp16") -> any Backend { CoreMLBackend(precision: precision) }
let precisions = ["fp16"]
#endif

/// Whether results are held to those of torch; in half precision they are near them.
let isExact = precisions.contains("fp32")

let repository = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../../../..")
    .standardizedFileURL

/// The bundle that SAMCLIP_BUNDLE names, or the repository's own.
let bundleFolder = folder(of: "SAMCLIP_BUNDLE", or: "samclip_sdk/bundle/embedded/samclip-mobile")

/// One with CLIP's tokenizer.
let clipFolder = folder(of: "SAMCLIP_CLIP_BUNDLE", or: "tests/bundles/samclip-tiny")

private func folder(of variable: String, or path: String) -> URL {
    if let given = ProcessInfo.processInfo.environment[variable] {
        return URL(fileURLWithPath: given)
    }
    return repository.appendingPathComponent(path)
}

let goldens = Result { try Goldens(folder: bundleFolder) }

/// A bundle's `golden/index.json` and its tensors.
struct Goldens: Sendable {
    let bundle: ModelBundle
    let index: Index
    private let tensors: SafeTensors

    struct Index: Decodable, Sendable {
        let texts: [Text]
        let letterbox: [Letterboxed]
        let graphs: [Run]
        let segment: [Prompted]
        let classEmbeddings: [Classes]
        let imageEmbeddings: [Embedded]?
        let scoreMaps: [Scores]
        let masks: [Upscaled]
        let textToMask: [Labelled]?
    }

    struct Text: Decodable, Sendable {
        let text: String
        let cleaned: String
        let inputIds: [Int32]
    }

    struct Expected: Decodable, Sendable {
        let tensor: String
        let step: Int
        let maxError: Double?
    }

    struct Letterboxed: Decodable, Sendable {
        let image: String?
        let size: [Int]
        let resolution: Int
        let extent: [Int]
        let output: Expected
    }

    struct Run: Decodable, Sendable {
        let graph: String
        let inputs: [String: String]
        let outputs: [String: Expected]
    }

    struct Prompted: Decodable, Sendable {
        let image: String
        let points: [[Double]]
        let labels: [Int]
        let box: [Double]?
        let lowResMasks: Expected
        let iouPredictions: Expected
    }

    struct Classes: Decodable, Sendable {
        let labels: [String]
        let expected: Expected
    }

    struct Embedded: Decodable, Sendable {
        let image: String
        let expected: Expected
    }

    struct Scores: Decodable, Sendable {
        let scoreMap: String
        let size: [Int]
        let resolution: Int
        let presence: Float
        let points: [[Float]]
        let maskInput: Expected
    }

    struct Upscaled: Decodable, Sendable {
        let lowRes: String
        let size: [Int]
        let resolution: Int
        let mask: String
    }

    struct Labelled: Decodable, Sendable {
        let image: String
        let pack: String
        let presence: [Float]
        let scores: [Float]
        let masks: String
    }

    init(folder: URL) throws {
        bundle = try ModelBundle(folder: folder)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        index = try decoder.decode(Index.self, from: bundle.content(of: "golden/index.json"))
        let file = try bundle.content(of: "golden/tensors.safetensors")
        tensors = try SafeTensors(file, named: "tensors.safetensors")
    }

    func tensor(_ key: String) throws -> Tensor { try tensors.tensor(key) }

    func rgbImage(_ key: String) throws -> RgbImage {
        let tensor = try tensor(key)
        return try RgbImage(rgb: tensor.bytes, height: tensor.shape[0], width: tensor.shape[1])
    }

    /// The image of a golden that has none of its own.
    func formula(_ size: [Int]) throws -> RgbImage {
        var rgb: [UInt8] = []
        for y in 0..<size[0] {
            for x in 0..<size[1] {
                for channel in 0..<3 {
                    let rings = x * x / 97 + y * y / (61 + 30 * channel)
                    rgb.append(UInt8((rings + 40 * channel) % 256))
                }
            }
        }
        return try RgbImage(rgb: rgb, height: size[0], width: size[1])
    }

    /// The largest difference, relative to the largest value that was expected.
    func error(_ found: [Float], _ expected: Expected) throws -> Double {
        let wanted = try tensor(expected.tensor).floats
        let taken = stride(from: 0, to: found.count, by: expected.step).map { found[$0] }
        guard taken.count == wanted.count else { return .infinity }
        let differences = zip(taken, wanted).map { Double(abs($0 - $1)) }
        let largest = wanted.map { Double(abs($0)) }.max() ?? 0
        return differences.contains { $0.isNaN } ? .infinity : differences.max()! / largest
    }

    /// The cosine between an output and what was expected.
    func cosine(_ found: [Float], _ expected: Expected) throws -> Double {
        let wanted = try tensor(expected.tensor).floats.map { Double($0) }
        let taken = stride(from: 0, to: found.count, by: expected.step).map { Double(found[$0]) }
        guard taken.count == wanted.count else { return -1 }
        func product(_ left: [Double], _ right: [Double]) -> Double {
            zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let lengths = product(taken, taken).squareRoot() * product(wanted, wanted).squareRoot()
        return product(taken, wanted) / lengths
    }

    /// Bits as NumPy packs them, the highest first.
    func bits(_ key: String) throws -> [Bool] {
        try tensor(key).bytes.flatMap { byte in (0..<8).map { byte >> (7 - $0) & 1 == 1 } }
    }
}

/// The intersection over the union of two masks; 1 if both are empty.
func iou(_ left: some Sequence<Bool>, _ right: some Sequence<Bool>) -> Double {
    var (both, any) = (0, 0)
    for (one, other) in zip(left, right) {
        both += one && other ? 1 : 0
        any += one || other ? 1 : 0
    }
    return any == 0 ? 1 : Double(both) / Double(any)
}
