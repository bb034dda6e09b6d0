import CoreGraphics
import Foundation
import TensorFlowLite

/// A generator from the app's bundle, on LiteRT's interpreter. Not for several threads at once.
final class Generator {
    let metadata: Metadata
    let directions: [[Float]]
    private let runner: SignatureRunner

    /// Throws an error that says what is wrong with the file.
    init(path: String) throws {
        metadata = try Metadata.of(Data(contentsOf: URL(fileURLWithPath: path)))
        guard metadata.latents != nil, metadata.outputs.first?.shape.count == 3 else { throw Metadata.Problem.damaged }
        directions = metadata.directionVectors
        let interpreter = try Interpreter(modelPath: path)
        runner = try interpreter.signatureRunner(with: "serving_default")
    }

    /// One image: of latents, a class and a truncation (1 is none).
    func image(latents: [Float], classId: Int, truncation: Float) throws -> CGImage? {
        var inputs: [String: Data] = [:]
        for input in metadata.inputs {
            if input.isLatents {
                inputs[input.name] = latents.withUnsafeBufferPointer { Data(buffer: $0) }
            } else if input.classes != nil {
                inputs[input.name] = withUnsafeBytes(of: Int32(classId)) { Data($0) }
            } else {
                inputs[input.name] = withUnsafeBytes(of: truncation) { Data($0) }
            }
        }
        try runner.invoke(with: inputs)
        let output = metadata.outputs[0]
        let values = try runner.output(named: output.name).data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        return image(of: values, output: output)
    }

    private func image(of values: [Float], output: Metadata.Output) -> CGImage? {
        let (height, width, channels) = (output.shape[0], output.shape[1], output.shape[2])
        let (low, scale) = (output.range[0], 255 / (output.range[1] - output.range[0]))
        var pixels = [UInt8](repeating: 255, count: 4 * height * width)
        for pixel in 0..<height * width {
            for channel in 0..<3 {
                let value = values[pixel * channels + min(channel, channels - 1)]
                pixels[4 * pixel + channel] = UInt8(max(0, min(255, ((value - low) * scale).rounded())))
            }
        }
        guard let provider = CGDataProvider(data: Data(pixels) as CFData) else { return nil }
        return CGImage(
            width: width, height: height, bitsPerComponent: 8, bitsPerPixel: 32, bytesPerRow: 4 * width,
            space: CGColorSpaceCreateDeviceRGB(),
            bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.noneSkipLast.rawValue),
            provider: provider, decode: nil, shouldInterpolate: true, intent: .defaultIntent)
    }
}

/// Standard normal numbers; the same seed gives the same (SplitMix64, Box and Muller).
func normal(count: Int, seed: UInt64) -> [Float] {
    var state = seed
    func uniform() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((mixed ^ (mixed >> 31)) >> 11) / 9_007_199_254_740_992
    }
    return (0..<count).map { _ in Float(sqrt(-2 * log(1 - uniform())) * cos(2 * .pi * uniform())) }
}

/// On the great circle from one vector of latents to another (Shoemake 1985), so that the length stays likely.
func between(_ first: [Float], _ second: [Float], share: Double) -> [Float] {
    func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    let cosine = dot(first, second) / max(sqrt(dot(first, first) * dot(second, second)), 1e-12)
    let angle = acos(max(-1, min(1, cosine)))
    let near = angle < 1e-4
    let a = near ? 1 - share : sin((1 - share) * angle) / sin(angle)
    let b = near ? share : sin(share * angle) / sin(angle)
    return zip(first, second).map { Float(a * Double($0) + b * Double($1)) }
}
