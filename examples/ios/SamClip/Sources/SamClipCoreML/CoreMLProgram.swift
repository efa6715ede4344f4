#if canImport(CoreML)
@preconcurrency import CoreML
import CoreVideo
import SamClip

/// A loaded package. Core ML's asynchronous predictions may overlap.
struct CoreMLProgram: Session, @unchecked Sendable {
    let model: MLModel
    let outputs: [String]

    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        let descriptions = model.modelDescription.inputDescriptionsByName
        var features: [String: MLFeatureValue] = [:]
        for (name, tensor) in inputs {
            let type = descriptions[name]?.multiArrayConstraint?.dataType
            features[name] = try feature(tensor, type: type)
        }
        let feed = try MLDictionaryFeatureProvider(dictionary: features)
        let found = try await model.prediction(from: feed)
        var results: [String: Tensor] = [:]
        for name in outputs {
            if let array = found.featureValue(for: name)?.multiArrayValue {
                let values = MLShapedArray<Float>(converting: array).scalars
                results[name] = Tensor(values, shape: array.shape.map(\.intValue))
            }
        }
        return results
    }

    /// - Parameter type: of the program's own input, where it is no image.
    private func feature(_ tensor: Tensor, type: MLMultiArrayDataType?) throws -> MLFeatureValue {
        switch tensor.values {
        case .uint8(let planes):
            return MLFeatureValue(pixelBuffer: try pixelBuffer(planes, side: tensor.shape[3]))
        case .int32(let values):
            let shaped = MLShapedArray<Int32>(scalars: values, shape: tensor.shape)
            return MLFeatureValue(multiArray: MLMultiArray(shaped))
        case .float32(let values):
            let array = MLMultiArray(MLShapedArray<Float>(scalars: values, shape: tensor.shape))
            guard let type, type != .float32 else { return MLFeatureValue(multiArray: array) }
            // This initializer converts; it is the only one that does.
            let converted = MLMultiArray(concatenating: [array], axis: 0, dataType: type)
            return MLFeatureValue(multiArray: converted)
        }
    }

    /// Planes of red, green and blue as an image of Core ML.
    private func pixelBuffer(_ planes: [UInt8], side: Int) throws -> CVPixelBuffer {
        var created: CVPixelBuffer?
        let status = CVPixelBufferCreate(nil, side, side, kCVPixelFormatType_32BGRA, nil, &created)
        guard status == kCVReturnSuccess, let buffer = created else {
            throw SamClipError.runtime("no pixel buffer of \(side) x \(side): error \(status)")
        }
        CVPixelBufferLockBaseAddress(buffer, [])
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        guard let base = CVPixelBufferGetBaseAddress(buffer) else {
            throw SamClipError.runtime("a pixel buffer of \(side) x \(side) has no memory")
        }
        let length = CVPixelBufferGetBytesPerRow(buffer)
        for row in 0..<side {
            let line = base.advanced(by: row * length).assumingMemoryBound(to: UInt8.self)
            for column in 0..<side {
                let place = row * side + column
                line[4 * column] = planes[2 * side * side + place]
                line[4 * column + 1] = planes[side * side + place]
                line[4 * column + 2] = planes[place]
                line[4 * column + 3] = 255
            }
        }
        return buffer
    }
}
#endif
