#if canImport(CoreML)
import CoreGraphics
import CoreVideo
import Foundation
import SamClip

extension RgbImage {
    /// An image that is upright: `CGImage` knows of no orientation.
    public init(_ image: CGImage) throws {
        let (width, height) = (image.width, image.height)
        var rgb = [UInt8](repeating: 0, count: width * height * 3)
        let context = try Self.context(width: width, height: height, .noneSkipLast)
        context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
        guard let data = context.data else { throw Self.noMemory(width, height) }
        let pixels = data.assumingMemoryBound(to: UInt8.self)
        for row in 0..<height {
            for column in 0..<width {
                let source = row * context.bytesPerRow + 4 * column
                let target = (row * width + column) * 3
                for channel in 0..<3 { rgb[target + channel] = pixels[source + channel] }
            }
        }
        try self.init(rgb: rgb, height: height, width: width)
    }

    /// A frame of a camera, upright, in the format 32BGRA.
    public init(_ buffer: CVPixelBuffer) throws {
        guard CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA else {
            throw SamClipError.image(
                "the pixel buffer is not in 32BGRA; set the camera output's videoSettings to it")
        }
        let (width, height) = (CVPixelBufferGetWidth(buffer), CVPixelBufferGetHeight(buffer))
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        guard let data = CVPixelBufferGetBaseAddress(buffer) else {
            throw Self.noMemory(width, height)
        }
        let pixels = data.assumingMemoryBound(to: UInt8.self)
        let length = CVPixelBufferGetBytesPerRow(buffer)
        var rgb = [UInt8](repeating: 0, count: width * height * 3)
        for row in 0..<height {
            for column in 0..<width {
                let source = row * length + 4 * column
                let target = (row * width + column) * 3
                for channel in 0..<3 { rgb[target + channel] = pixels[source + 2 - channel] }
            }
        }
        try self.init(rgb: rgb, height: height, width: width)
    }

    fileprivate static func context(
        width: Int, height: Int, _ alpha: CGImageAlphaInfo
    ) throws -> CGContext {
        let space = CGColorSpace(name: CGColorSpace.sRGB) ?? CGColorSpaceCreateDeviceRGB()
        guard
            let context = CGContext(
                data: nil, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 0,
                space: space, bitmapInfo: alpha.rawValue)
        else { throw noMemory(width, height) }
        return context
    }

    fileprivate static func noMemory(_ width: Int, _ height: Int) -> SamClipError {
        .image("an image of \(width) x \(height) pixels has no memory of its own")
    }
}

extension Mask {
    /// The mask in one colour, see-through elsewhere, to lay over the image.
    ///
    /// All numbers are from 0 to 1.
    public func cgImage(
        red: Double, green: Double, blue: Double, opacity: Double = 0.5
    ) throws -> CGImage {
        let context = try RgbImage.context(width: width, height: height, .premultipliedLast)
        guard let data = context.data else { throw RgbImage.noMemory(width, height) }
        let pixels = data.assumingMemoryBound(to: UInt8.self)
        let colour = [red, green, blue, 1].map { UInt8(clamping: Int(255 * opacity * $0)) }
        for row in 0..<height {
            for column in 0..<width {
                let target = row * context.bytesPerRow + 4 * column
                let isInside = self[row, column]
                for channel in 0..<4 { pixels[target + channel] = isInside ? colour[channel] : 0 }
            }
        }
        guard let image = context.makeImage() else { throw RgbImage.noMemory(width, height) }
        return image
    }
}
#endif
